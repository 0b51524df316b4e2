"""The most memory that this process had resident at once."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import re
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


class Peak:
    """Watch the peak from now on.

    What was freed is given back to the system first. Linux then counts anew the largest resident
    memory (VmHWM of ``/proc/self/status``, reset through ``/proc/self/clear_refs``). Pages shared
    with other processes count, memory of a GPU does not.
    """

    def __init__(self) -> None:
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # it is the C library of GNU that has it
            ctypes.CDLL(None).malloc_trim(0)
        self._before = _megabytes("VmRSS")
        try:
            _RESET.write_text(_RESET_PEAK)
        except OSError:
            self._before = None

    @property
    def megabytes(self) -> float | None:
        """The peak since the start beyond what was there then, in MB; None where Linux hides it."""
        now = _megabytes("VmHWM")
        if self._before is None or now is None:
            return None
        return max(0.0, now - self._before)


def _megabytes(name: str) -> float | None:
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 / 1e6 if found else None
