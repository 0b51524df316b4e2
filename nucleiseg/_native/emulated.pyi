# Present in builds with NUCLEISEG_EMULATION=ON: what _native.cuda offers, and the tests' knobs.
from collections.abc import Callable
from typing import Any, TypedDict

from .cuda import LANES as LANES
from .cuda import Buffer as Buffer
from .cuda import Device as Device
from .cuda import Network as Network
from .cuda import Pipeline as Pipeline
from .cuda import convolution_levels as convolution_levels
from .cuda import copy_milliseconds as copy_milliseconds
from .cuda import current_device as current_device
from .cuda import device_count as device_count
from .cuda import devices as devices
from .cuda import driver_version as driver_version
from .cuda import memory as memory
from .cuda import runtime_version as runtime_version
from .cuda import try_kernel as try_kernel

class _Usage(TypedDict):
    device_bytes: int
    pinned_bytes: int
    streams: int
    events: int
    graphs: int

def call(function: Callable[[], Any], *, stream: Any) -> None: ...
def set_seed(seed: int) -> None: ...
def set_device_properties(memory: int, integrated: bool) -> None: ...
def usage() -> _Usage: ...
def copies() -> int: ...
