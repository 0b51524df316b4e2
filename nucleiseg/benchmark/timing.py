"""Calling something again and again, and saying how steady it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEADY = 0.025
"""Coefficient of variation below which a measurement is called steady."""

FEWEST_ROUNDS = 3
"""That the coefficient of variation is made of, whatever the time limit."""


@dataclass(frozen=True)
class Pace:
    """How to measure.

    Attributes
    ----------
    warm_up : float
        Seconds before anything counts; at least one pass.
    round : float
        Seconds that are taken together, so that the jitter of a single call does not count.
    rounds : int
        The fewest that make a steady row.
    """

    warm_up: float = 0.5
    round: float = 0.1
    rounds: int = 10


QUICK = Pace(warm_up=0.1, round=0.02, rounds=5)


@dataclass(frozen=True)
class Repeats:
    """What calls took.

    Attributes
    ----------
    seconds : ndarray, (n,) float64
        Of each call, whole passes of them.
    variation : float
        Standard deviation over mean of the rounds' mean times.
    """

    seconds: NDArray[np.float64]
    variation: float

    @property
    def is_steady(self) -> bool:
        """Whether the rounds vary by less than `STEADY`."""
        return self.variation < STEADY


def repeat(calls: Sequence[Callable[[], object]], pace: Pace, limit: float) -> Repeats:
    """Make all the calls, pass after pass, until they are steady or it is too late.

    A round is as many whole passes as fill `Pace.round`. Rounds are added until the coefficient of
    variation of all of them is under `STEADY`. What a call gives is freed within its time.

    Parameters
    ----------
    calls : sequence of callable
        One pass.
    pace : Pace
    limit : float
        Seconds after which it ends, steady or not.
    """
    _round(calls, pace.warm_up)
    rounds: list[list[float]] = []
    deadline = time.perf_counter() + limit
    while True:
        rounds.append(_round(calls, pace.round))
        varies = variation([float(np.mean(one)) for one in rounds])
        is_late = time.perf_counter() > deadline and len(rounds) >= FEWEST_ROUNDS
        if is_late or (len(rounds) >= pace.rounds and varies < STEADY):
            return Repeats(np.concatenate(rounds), varies)


def best(
    run: Callable[[], object], budget: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Give the shortest of the calls, at least two, that fit into ``budget`` seconds."""
    run()
    shortest, deadline = _seconds(run, clock), time.perf_counter() + budget
    while time.perf_counter() < deadline:
        shortest = min(shortest, _seconds(run, clock))
    return shortest


def variation(values: Sequence[float]) -> float:
    """Give the coefficient of variation: infinite for fewer than two values."""
    if len(values) < 2:
        return float("inf")
    return float(np.std(values, ddof=1) / np.mean(values))


def _round(calls: Sequence[Callable[[], object]], length: float) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + length
    while not taken or time.perf_counter() < end:
        taken.extend(_seconds(call) for call in calls)
    return taken


def _seconds(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begin = clock()
    run()
    return clock() - begin
