"""The shape of each network, written down once: `unet`, `integers` and `export` follow it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

LEVELS = 5
"""Resolutions of a network: 1/2 of the image's, 1/4, ... 1/32."""

STRIDE = 2**LEVELS
"""Image sides are multiples of this many pixels."""

CELL = 2
"""The last convolution answers for cells of this many pixels a side."""


class Link(NamedTuple):
    """A tensor between convolutions: who makes it, and who uses it from which channel on."""

    maker: str
    users: tuple[tuple[str, int], ...]
    range_name: str


@dataclass(frozen=True)
class Topology:
    """A U-Net that works at half resolution and answers at full.

    Attributes
    ----------
    name : str
        Of the network and of its model.
    widths : tuple of int
        Channels of each level, the first at half the resolution of the image.
    down, up : tuple of int
        3 x 3 convolutions of each level on the way down, the stem not counted, and on the way up,
        where the lowest level has none.
    stem : int
        Side of the first convolution, whose stride is 2. One of 6 x 6 computes what a 3 x 3
        convolution computes of the four pixels of each position side by side (space to depth).
    """

    name: str
    widths: tuple[int, ...]
    down: tuple[int, ...]
    up: tuple[int, ...]
    stem: int

    def down_names(self, level: int) -> list[str]:
        """Return the names of a level's convolutions on the way down."""
        return [f"down{level}{'abc'[index]}" for index in range(self.down[level])]

    def up_names(self, level: int) -> list[str]:
        """Return the names of a level's convolutions on the way up."""
        return [f"up{level}{('', 'b', 'c')[index]}" for index in range(self.up[level])]

    def links(self) -> list[Link]:
        """Return the tensors between the convolutions, in the order of the levels.

        Those that are joined share a range, since a joined tensor has one scale.
        """
        last = len(self.widths) - 1
        found = [Link("stem", ((self.down_names(0)[0], 0),), "stem")]
        for level in range(last + 1):
            names = self.down_names(level)
            found += [Link(a, ((b, 0),), a) for a, b in itertools.pairwise(names)]
            if level == last:
                found.append(Link(names[-1], ((f"grow{level - 1}", 0),), names[-1]))
                break
            ups, join = self.up_names(level), f"join{level}"
            below = self.down_names(level + 1)[0]
            found.append(Link(names[-1], ((below, 0), (ups[0], 0)), join))
            found.append(Link(f"grow{level}", ((ups[0], self.widths[level]),), join))
            found += [Link(a, ((b, 0),), a) for a, b in itertools.pairwise(ups)]
            after = f"grow{level - 1}" if level else "logits"
            found.append(Link(ups[-1], ((after, 0),), ups[-1]))
        return found

    def order(self) -> list[str]:
        """Return the links' makers in the order in which a network runs them."""
        levels = range(len(self.widths))
        down = [name for level in levels for name in self.down_names(level)]
        up = [name for level in levels[-2::-1] for name in (f"grow{level}", *self.up_names(level))]
        return ["stem", *down, *up]

    def halo(self) -> int:
        """Count the pixels around a stride-aligned cell that its maps depend on.

        Where tiles overlap by twice this much and are cut at multiples of `STRIDE`, their maps are
        those of the whole image, whatever the tiles' size.

        Returns
        -------
        int
            Pixels, a multiple of `STRIDE`.
        """
        # The last convolution sees one position on each side, before it spreads over 2 x 2 pixels.
        first, last = self._decoder_reach(0, -1, STRIDE // CELL)
        reach = max(-first, last - (STRIDE - 1))
        return -(-reach // STRIDE) * STRIDE

    def _decoder_reach(self, level: int, first: int, last: int) -> tuple[int, int]:
        """Return the image pixels seen by the positions first..last after a level of the way up."""
        if level == len(self.widths) - 1:
            return self._encoder_reach(level, first, last)
        first, last = first - self.up[level], last + self.up[level]
        skip = self._encoder_reach(level, first, last)
        below = self._decoder_reach(level + 1, first // 2, last // 2)
        return min(skip[0], below[0]), max(skip[1], below[1])

    def _encoder_reach(self, level: int, first: int, last: int) -> tuple[int, int]:
        """Return the image pixels seen by the positions first..last after a level down."""
        first, last = first - self.down[level], last + self.down[level]
        if level == 0:
            before, _ = self.stem_pads()
            return 2 * first - before, 2 * last - before + self.stem - 1
        return self._encoder_reach(level - 1, 2 * first, 2 * last + 1)

    def stem_pads(self) -> tuple[int, int]:
        """Return the pixels that the stem pads before and after, "same" padding of even sides."""
        missing = self.stem - 2
        return missing // 2, missing - missing // 2


ACCURATE = Topology(
    name="nuclei",
    widths=(32, 64, 96, 160, 256),
    down=(1, 2, 3, 3, 2),
    up=(2, 2, 2, 2),
    stem=6,
)
"""About 35,600 multiply-adds a pixel: for what is looked at once, as slides are."""

FAST = Topology(
    name="nuclei-fast",
    widths=(16, 32, 64, 128, 256),
    down=(1, 2, 2, 2, 2),
    up=(1, 1, 1, 1),
    stem=3,
)
"""About 9,500 multiply-adds a pixel: for cameras. Two convolutions a level on the way up too would
be 12,400."""

TEACHER = Topology(
    name="nuclei-teacher",
    widths=(64, 128, 192, 256, 384),
    down=(2, 2, 3, 3, 3),
    up=(2, 2, 2, 2),
    stem=6,
)
"""About 140,000 multiply-adds a pixel: what the other two learn from. It does not ship."""

NETWORKS = {one.name: one for one in (TEACHER, ACCURATE, FAST)}
