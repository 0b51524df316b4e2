"""The figures of an evaluation as text, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from . import groups, metrics
from .metrics import Intervals, Score
from .samples import Sample

Rows = list[list[str]]


@dataclass(frozen=True)
class Column:
    """One figure: its name in CSV, its heading elsewhere, and where it comes from.

    A column without a heading is in CSV only; those named in `Intervals` have a 95 % interval.
    """

    name: str
    heading: str
    value: Callable[[Score], int | float]


COLUMNS = (
    Column("nuclei", "nuclei", lambda score: score.nuclei),
    Column("found", "", lambda score: score.found),
    Column("dice", "Dice", lambda score: score.mean_dice),
    Column("iou", "IoU", lambda score: score.mean_iou),
    Column("ap50", "AP@0.5", lambda score: score.ap[0]),
    Column("ap", "AP@0.5:0.95", lambda score: score.mean_ap),
    Column("f1", "F1", lambda score: score.f1[0]),
    Column("pq", "PQ", lambda score: score.pq[0]),
    Column("aji", "AJI", lambda score: score.mean_aji),
    Column("merges", "merges", lambda score: score.merges),
    Column("splits", "splits", lambda score: score.splits),
    *(
        Column(f"ap{round(100 * threshold)}", "", lambda score, index=index: float(score.ap[index]))
        for index, threshold in enumerate(metrics.IOU_THRESHOLDS)
        if index > 0
    ),
)

SHOWN_INTERVALS = ("dice", "ap50")
"""The interval of mean AP is in CSV only: three would make the table too wide to read."""

COMPARED = ("dice", "ap50", "ap")

LEGEND = (
    f"Brackets: 95 % interval over {metrics.RESAMPLES} resamples of the images. F1 and PQ are at "
    "IoU 0.5. A merge is a found nucleus that covers more than half of two or more true ones; a "
    "split is a true nucleus that holds more than half of two or more found ones."
)


@dataclass(frozen=True)
class Group:
    """Images that share a row of a table: all, all in bright field, those of one modality, of one
    data set, or of one patient, organ or plate."""

    kind: str
    name: str
    members: tuple[int, ...]

    def total(self, scores: Sequence[Score]) -> Score:
        """Add up the scores of the members."""
        return metrics.total([scores[index] for index in self.members])

    def intervals(self, scores: Sequence[Score]) -> Intervals | None:
        """Return the 95 % intervals over the members; there are none for a single image."""
        if len(self.members) == 1:
            return None
        return metrics.bootstrap([scores[index] for index in self.members])


def group(samples: Sequence[Sample]) -> list[Group]:
    """Group all images, those in bright field if they are of several modalities, those of each
    modality and, if there are several, of each data set; then those of each patient, organ or plate
    that image names tell."""
    datasets = [sample.dataset for sample in samples]
    modalities = [sample.modality for sample in samples]
    series = [groups.named_group(sample.name) for sample in samples]
    result = [Group("all", "all", tuple(range(len(samples))))]
    bright = tuple(i for i, one in enumerate(modalities) if one in groups.BRIGHT_FIELD)
    if len({modalities[index] for index in bright}) > 1:
        result.append(Group("modality", "bright-field", bright))
    for kind, of_images, names in (
        ("modality", modalities, [one for one in groups.MODALITIES if one in modalities]),
        ("data set", datasets, sorted(set(datasets)) if len(set(datasets)) > 1 else []),
        ("series", series, sorted({one for one in series if one})),
    ):
        for name in names:
            members = tuple(i for i, other in enumerate(of_images) if other == name)
            result.append(Group(kind, name, members))
    return result


def figures(grouped: Sequence[Group], scores: Sequence[Score]) -> Rows:
    """Lay out the figures of each group, below a row of headings."""
    columns = [column for column in COLUMNS if column.heading]
    rows = [["", "images", *(column.heading for column in columns)]]
    for one in grouped:
        score, intervals = one.total(scores), one.intervals(scores)
        cells = [_cell(column, score, intervals) for column in columns]
        rows.append([one.name, str(len(one.members)), *cells])
    return rows


def comparison(grouped: Sequence[Group], int8: Sequence[Score], float32: Sequence[Score]) -> Rows:
    """Lay out what int8 and float32 reach and how much int8 has more, below a row of headings."""
    columns = [column for column in COLUMNS if column.name in COMPARED]
    sides = ("int8", "float32", "diff.")
    headings = [f"{column.heading} {side}" for column in columns for side in sides]
    rows = [["", "images", *headings]]
    for one in grouped:
        ours, theirs = one.total(int8), one.total(float32)
        row = [one.name, str(len(one.members))]
        for column in columns:
            first, second = column.value(ours), column.value(theirs)
            row += [f"{first:.4f}", f"{second:.4f}", f"{first - second:+.4f}"]
        rows.append(row)
    return rows


def text(rows: Rows) -> str:
    """Align a table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def markdown(rows: Rows) -> str:
    """Write a table in Markdown, figures to the right."""
    ruler = ["---", *("---:" for _ in rows[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ruler, *rows[1:]])


def groups_csv(grouped: Sequence[Group], scores: Sequence[Score]) -> str:
    """Write one line a group, with all figures and intervals."""
    head = ["kind", "group", "images"]
    for column in COLUMNS:
        ends = ("", "_low", "_high") if column.name in Intervals._fields else ("",)
        head += [f"{column.name}{end}" for end in ends]
    rows = [head]
    for one in grouped:
        score, intervals = one.total(scores), one.intervals(scores)
        row = [one.kind, one.name, str(len(one.members))]
        for column in COLUMNS:
            row.append(_exact(column.value(score)))
            if column.name in Intervals._fields:
                row += map(_exact, getattr(intervals, column.name)) if intervals else ["", ""]
        rows.append(row)
    return csv_text(rows)


def images_csv(samples: Sequence[Sample], scores: Sequence[Score]) -> str:
    """Write one line per image, with all figures."""
    rows = [["image", "data_set", "modality", *(column.name for column in COLUMNS)]]
    for sample, score in zip(samples, scores, strict=True):
        cells = [_exact(column.value(score)) for column in COLUMNS]
        rows.append([sample.name, sample.dataset, sample.modality, *cells])
    return csv_text(rows)


def _cell(column: Column, score: Score, intervals: Intervals | None) -> str:
    value = column.value(score)
    if isinstance(value, int):
        return str(value)
    if intervals is None or column.name not in SHOWN_INTERVALS:
        return f"{value:.3f}"
    low, high = getattr(intervals, column.name)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _exact(value: int | float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6f}"


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Write rows as CSV."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()
