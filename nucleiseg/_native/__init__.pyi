from . import cpu as cpu
from . import cuda as cuda
from . import emulated as emulated
