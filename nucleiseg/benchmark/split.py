"""How the time of a call divides into the backend's steps, watched from outside."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nucleiseg.segmenter import Segmenter

PARTS = {
    "upload": ("array",),
    "prepare": ("limits", "normalize", "gather"),
    "infer": ("infer",),
    "assemble": ("assemble",),
    "decode": ("mask", "label"),
    "download": ("known", "host", "finish"),
}
"""The backend's steps that make each part."""

ON_A_DEVICE = ("upload", "download")
"""Parts that are nothing on a CPU: its steps take and give the arrays themselves."""

_PART_OF = {step: part for part, steps in PARTS.items() for step in steps}

FEWEST_PASSES = 3


@dataclass
class Split:
    """Sums over the calls that were watched.

    Attributes
    ----------
    whole : float
        Seconds of the calls themselves.
    parts : dict of float
        Seconds of each of `PARTS`.
    pixels : int
        That the network was given, halo and padding included.
    """

    whole: float = 0.0
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    pixels: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """Each part's share of the whole; "other" is what no step took."""
        shares = {part: seconds / self.whole for part, seconds in self.parts.items()}
        return {**shares, "other": 1 - sum(shares.values())}


def measure(
    segmenter: Segmenter, calls: Sequence[Callable[[], object]], seconds: float
) -> Split | None:
    """Watch calls of one image each.

    On a GPU every step is waited for and nothing is replayed, which overlaps less than real calls:
    shares are of that.

    Parameters
    ----------
    segmenter : Segmenter
        That the calls use, from this thread alone.
    calls : sequence of callable
        One pass; there are at least `FEWEST_PASSES`.
    seconds : float
        After which no other pass begins.

    Returns
    -------
    Split or None
        None for a device whose steps cannot be waited for.
    """
    split, backend, end = Split(), segmenter._backend, time.perf_counter() + seconds
    segmenter._backend = Watched(backend, split)
    try:
        done = 0
        while done < FEWEST_PASSES or time.perf_counter() < end:
            for call in calls:
                begin = time.perf_counter()
                call()
                split.whole += time.perf_counter() - begin
            done += 1
    except CannotWaitError:
        return None
    finally:
        segmenter._backend = backend
    return split


class CannotWaitError(RuntimeError):
    """Steps return before they are done, and there is no way to wait for them."""


class Watched:
    """A backend, or its steps of one image, that adds up what its steps take.

    Parameters
    ----------
    steps : Backend
        Or what its ``session`` gives; off the CPU it needs a ``synchronize()``.
    split : Split
        What is added to.
    part_of : mapping of str
        The part that each step belongs to; those that `PARTS` makes when left out.
    """

    _numbers = itertools.count()

    def __init__(
        self, steps: Any, split: Split, part_of: Mapping[str, str] = MappingProxyType(_PART_OF)
    ) -> None:
        self._steps = steps
        self._split = split
        self._part_of = part_of

    def __getattr__(self, name: str) -> Any:
        """Give what the backend has; a step is timed."""
        value, part = getattr(self._steps, name), self._part_of.get(name)
        if part is None or (part in ON_A_DEVICE and not self._is_behind):
            return value
        return self._timed(part, value)

    @property
    def _is_behind(self) -> bool:
        """Whether steps return before they are done, as those of a GPU do."""
        return hasattr(self._steps, "synchronize")

    @contextmanager
    def session(self, *arguments: Any, **options: Any) -> Iterator[Watched]:
        """Watch the steps of one image."""
        with self._steps.session(*arguments, **options) as steps:
            if self._steps.name != "cpu" and not hasattr(steps, "synchronize"):
                raise CannotWaitError(f"{self._steps.name} has no way to wait for a step")
            yield Watched(steps, self._split, self._part_of)

    def repeat(self, key: tuple[Any, ...], image: Any, work: Callable[[Any], Any]) -> Any:
        """Do the work step by step: a key that never comes again is never replayed."""
        return self._steps.repeat((*key, next(self._numbers)), image, work)

    def _timed(self, part: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if part == "infer":
                self._split.pixels += math.prod(arguments[0].shape) // 3
            begin = time.perf_counter()
            result = step(*arguments, **options)
            if self._is_behind:
                self._steps.synchronize()
            self._split.parts[part] += time.perf_counter() - begin
            return result

        return run
