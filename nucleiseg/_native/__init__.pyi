from . import cpu as cpu
from . import cuda as cuda
