# Present in builds with NUCLEISEG_EMULATION=ON: what _native.cuda offers, and the tests' knobs.
from collections.abc import Callable
from typing import Any, TypedDict

from .cuda import LANES as LANES
from .cuda import Buffer as Buffer
from .cuda import Capture as Capture
from .cuda import Device as Device
from .cuda import Event as Event
from .cuda import Graph as Graph
from .cuda import Network as Network
from .cuda import PinnedBuffer as PinnedBuffer
from .cuda import Pipeline as Pipeline
from .cuda import Stream as Stream
from .cuda import as_buffer as as_buffer
from .cuda import assemble as assemble
from .cuda import check_limits as check_limits
from .cuda import convolution_levels as convolution_levels
from .cuda import copy as copy
from .cuda import current_device as current_device
from .cuda import device_count as device_count
from .cuda import devices as devices
from .cuda import driver_version as driver_version
from .cuda import fill as fill
from .cuda import gather as gather
from .cuda import label as label
from .cuda import label_workspace as label_workspace
from .cuda import limits as limits
from .cuda import limits_workspace as limits_workspace
from .cuda import mask as mask
from .cuda import memory as memory
from .cuda import normalize as normalize
from .cuda import runtime_version as runtime_version
from .cuda import set_device as set_device
from .cuda import to_device as to_device
from .cuda import to_host as to_host

class _Usage(TypedDict):
    device_bytes: int
    pinned_bytes: int
    streams: int
    events: int
    graphs: int

def call(function: Callable[[], Any], *, stream: Stream) -> None: ...
def set_seed(seed: int) -> None: ...
def set_device_properties(memory: int, integrated: bool) -> None: ...
def usage() -> _Usage: ...
def copies() -> int: ...
