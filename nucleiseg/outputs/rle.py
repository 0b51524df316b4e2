"""Run-length masks as COCO's API writes them: runs column by column, in a short form of text.

The short form is that of ``rleToString`` in ``common/maskApi.c`` of COCO's API: each count, from
the fourth on less the one two before it, in groups of five bits, lowest first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BITS, _MASK, _SIGN, _MORE, _FIRST = 5, 31, 16, 32, 48


def encode(labels: NDArray[np.int32]) -> list[str]:
    """Encode the mask of every label.

    Parameters
    ----------
    labels : ndarray, (H, W) int32

    Returns
    -------
    list of str
        One for each label that there is, in their order.
    """
    owners, starts, ends = _runs(labels)
    first = np.diff(owners, prepend=0) != 0
    last = np.diff(owners, append=0) != 0
    gaps = starts - np.where(first, 0, np.roll(ends, 1))
    counts = np.stack([gaps, ends - starts], axis=1).ravel()
    owners = np.repeat(owners, 2)
    # The background behind a mask is a count too, if there is some.
    behind = np.flatnonzero(last & (ends < labels.size))
    counts = np.insert(counts, 2 * behind + 2, labels.size - ends[behind])
    owners = np.insert(owners, 2 * behind + 2, owners[2 * behind])
    return _texts(counts, np.flatnonzero(np.diff(owners, prepend=0)))


def _runs(labels: NDArray[np.int32]) -> tuple[NDArray[Any], ...]:
    """Find the label, start and end of each run that is no background, by label, then by start."""
    flat = labels.ravel(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    ends = np.append(starts[1:], flat.size)
    owners = flat[starts]
    order = np.argsort(owners, kind="stable")
    order = order[np.count_nonzero(owners == 0) :]
    return owners[order], starts[order], ends[order]


def _texts(counts: NDArray[np.int64], firsts: NDArray[np.intp]) -> list[str]:
    """Write counts as text; those of a mask begin at each of ``firsts``."""
    place = np.arange(len(counts)) - np.repeat(firsts, np.diff(firsts, append=len(counts)))
    left = counts - np.where(place > 2, np.roll(counts, 2), 0)
    groups = []
    pending = np.ones(len(left), np.bool_)
    while pending.any():
        low, left = left & _MASK, left >> _BITS
        more = pending & np.where(low & _SIGN, left != -1, left != 0)
        groups.append(np.where(pending, _FIRST + low + _MORE * more, 0).astype(np.uint8))
        pending = more
    if not groups:
        return []
    letters = np.stack(groups, axis=1)
    lengths = np.count_nonzero(letters, axis=1)
    text = letters[letters > 0].tobytes().decode("ascii")
    ends = np.add.reduceat(lengths, firsts).cumsum().tolist()
    return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
