"""Find cell nuclei in microscope images.

>>> import nucleiseg
>>> mask = nucleiseg.segment(image)                      # (H, W) bool
>>> labels = nucleiseg.segment(image, output="labels")   # (H, W) int32, one id a nucleus
"""

from importlib.metadata import PackageNotFoundError, version

from nucleiseg.default import segment
from nucleiseg.model import Model, ModelError
from nucleiseg.segmenter import Segmenter

try:
    __version__ = version("nucleiseg")
except PackageNotFoundError:  # a source tree that was built in place but not installed
    __version__ = "0+unknown"

__all__ = ["Model", "ModelError", "Segmenter", "__version__", "segment"]
