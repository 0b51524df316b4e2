"""TensorRT itself: which of its two libraries is installed, and what it has to say."""

from __future__ import annotations

import importlib
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
"""The libraries, in the order in which they are looked for. Their Python modules are alike."""

KEPT = 20_000
"""Lines that are remembered: a build says about 3,000, a program that runs for weeks any number."""


def find(name: str | None = None) -> ModuleType:
    """Import the library.

    Parameters
    ----------
    name : {"tensorrt", "tensorrt_rtx"}, optional
        Whichever is installed when left out.

    Raises
    ------
    ImportError
        It is not installed, or does not load; says what to do.
    """
    reasons = []
    for candidate in NAMES if name is None else [name]:
        try:
            return importlib.import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name != candidate:
                reasons.append(f"{candidate} does not load ({error})")
        except (ImportError, OSError) as error:
            reasons.append(f"{candidate} does not load ({error})")
    found = "; ".join(reasons) or f"{' or '.join([name] if name else NAMES)} is not installed"
    raise ImportError(
        f"TensorRT: {found}; for a GeForce or RTX GPU, and to build engines without one: "
        "pip install tensorrt-rtx-cu12; for other NVIDIA GPUs: pip install tensorrt; "
        "a Jetson gets it with JetPack"
    )


def title(library: ModuleType) -> str:
    """Give its name and version, for people."""
    return f"{NAMES[library.__name__]} {library.__version__}"


@contextmanager
def uninterrupted() -> Iterator[threading.Event]:
    """Hold an interruption back while the library is at work, and raise it when it has come back.

    The library calls Python, its logger above all, from C++ code that no exception may cross: a
    KeyboardInterrupt there aborts the program. Does nothing where the program handles the signal in
    its own way, and in threads, which get none.

    Yields
    ------
    threading.Event
        Set once there was one: whoever can should come to an end.

    Raises
    ------
    KeyboardInterrupt
        At the end, whatever else failed.
    """
    noted = threading.Event()
    held = [
        number
        for number in (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) is signal.default_int_handler
    ]
    for number in held:
        signal.signal(number, lambda *_: noted.set())
    try:
        yield noted
    finally:
        for number in held:
            signal.signal(number, signal.default_int_handler)
        if noted.is_set():
            raise KeyboardInterrupt


class Messages:
    """What the library said, by how bad it is.

    Attributes
    ----------
    logger : ILogger
        To be given to the library. It keeps the first that it is given in a process, so another
        user of it there may get the builder's lines; the parser's come here.
    """

    def __init__(self, library: ModuleType) -> None:
        self._severity = library.ILogger.Severity
        self._lines: deque[tuple[Any, str]] = deque(maxlen=KEPT)
        lines = self._lines

        class Collector(library.ILogger):  # type: ignore[misc, name-defined]
            def log(self, severity: Any, message: str) -> None:
                lines.append((severity, message.strip()))

        self.logger = Collector()

    def start(self, kind: type[Any]) -> Any:
        """Make a builder or a runtime.

        Raises
        ------
        RuntimeError
            The library does not start here; with its own reason.
        """
        try:
            return kind(self.logger)
        except TypeError as error:  # how its bindings say that they got nothing
            raise RuntimeError(f"TensorRT: cannot start: {self.errors()}") from error

    def forget(self) -> None:
        """Start anew."""
        self._lines.clear()

    def lines(self) -> list[str]:
        """Give everything, down to what is only for developers."""
        return [line for _, line in self._lines]

    def errors(self) -> str:
        """Give the last errors in one line."""
        worst = (self._severity.INTERNAL_ERROR, self._severity.ERROR)
        return "; ".join(self._of(worst)[-3:]) or "no reason was given"

    def warnings(self) -> list[str]:
        """Give each warning once."""
        return list(dict.fromkeys(self._of((self._severity.WARNING,))))

    def _of(self, severities: Sequence[Any]) -> list[str]:
        return [line for severity, line in self._lines if severity in severities]


@lru_cache
def messages(library: ModuleType) -> Messages:
    """Give the one collector of a library."""
    return Messages(library)
