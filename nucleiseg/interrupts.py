"""Ctrl-C and SIGTERM on the command line: the first ends the work in order, the second at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_CODE = 130
"""Exit code of an interrupted command: what shells report after SIGINT."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Job schedulers stop a job with SIGTERM: it ends in the same order as after Ctrl-C."""

_begun = False


@contextmanager
def handled() -> Iterator[None]:
    """Handle the signals in the main thread, and end the process if there was one."""
    for number in SIGNALS:
        signal.signal(number, once)
    try:
        yield
    finally:
        if _begun:
            _end()


def once(number: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, and end the process at once when the next signal comes."""
    global _begun
    _begun = True
    for each in SIGNALS:
        signal.signal(each, lambda *_: os._exit(EXIT_CODE))
    raise KeyboardInterrupt


def _end() -> NoReturn:
    """Skip the interpreter's end, at which signals are no longer handled."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(EXIT_CODE)
