"""Ctrl-C and SIGTERM on the command line: the first ends the work in order, the second at once.

A command ends its process without the interpreter's own end. At that end signals are no longer
handled, and a thread of Arrow that lets go of a Python object then aborts the process
(https://github.com/apache/arrow/issues/34314), although everything is done and written.
"""

from __future__ import annotations

import atexit
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
    """Handle the signals in the main thread, and end the process with the command's exit code."""
    for number in SIGNALS:
        signal.signal(number, once)
    code: object = 0
    try:
        yield
    except SystemExit as end:
        code = end.code
    finally:
        if _begun:
            _end(EXIT_CODE)
    if code is None or isinstance(code, int):
        atexit._run_exitfuncs()
        _end(code or 0)
    raise SystemExit(code)


def once(number: int, frame: FrameType | None) -> NoReturn:
    """Raise KeyboardInterrupt, and end the process at once when the next signal comes."""
    global _begun
    _begun = True
    for each in SIGNALS:
        signal.signal(each, lambda *_: os._exit(EXIT_CODE))
    raise KeyboardInterrupt


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            code = code or 1
        except OSError as error:
            code = code or 1
            os.write(2, f"nucleiseg: standard output: {error.strerror}\n".encode())
    os._exit(code)
