"""The summary that ``nucleiseg segment`` prints at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nucleiseg.console import counted

if TYPE_CHECKING:
    from nucleiseg.batch import Outcome
    from nucleiseg.outputs import Format
    from nucleiseg.report.collect import Report

NUCLEUS = "nucleus", "nuclei"

NAMED = 10
"""Most images worth a second look that are named; the others are counted."""


def worth_a_look(doubts: Mapping[str, str], report: Report | None) -> str:
    """Return a sentence that names images and reasons."""
    named = [f"{name} ({reason})" for name, reason in list(doubts.items())[:NAMED]]
    if len(doubts) > NAMED:
        where = str(report.path) if report else "--report shows all"
        named.append(f"{len(doubts) - NAMED:,} more ({where})")
    verb = "is" if len(doubts) == 1 else "are"
    return f"{counted(len(doubts), 'image')} {verb} worth a second look: {'; '.join(named)}"


def summary(outcomes: Sequence[Outcome], seconds: float, saved: str) -> str:
    """Return the summary of a run, in a line."""
    done = [outcome for outcome in outcomes if not outcome.failure]
    if not done:
        return f"{counted(len(outcomes), 'image')} failed"
    before = sum(outcome.before for outcome in done)
    nuclei = sum(outcome.nuclei for outcome in done)
    pixels = sum(outcome.pixels for outcome in done)
    speed = f", {pixels / 1e6 / seconds:.1f} Mpixel/s" if pixels or not before else ""
    notes = [f"{before:,} done before"] if before else []
    notes += [f"{len(outcomes) - len(done):,} failed"] if len(done) < len(outcomes) else []
    images = counted(len(done), "image") + (f" ({', '.join(notes)})" if notes else "")
    return f"{images}, {counted(nuclei, *NUCLEUS)}{speed}, {saved}"


def listed(formats: Sequence[Format]) -> str:
    """Return the names of formats as an enumeration: "masks, labels and overlays"."""
    *first, last = [each.plural for each in formats]
    return f"{', '.join(first)} and {last}" if first else last
