"""How a slide's labels are cut into regions, and how large a region may be."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 1024
"""Side of the blocks in which labels are written; regions are whole multiples of it."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the labels that one task computes."""

    index: int
    row: int
    column: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after the last."""
        return self.row + self.height

    @property
    def right(self) -> int:
        """The column after the last."""
        return self.column + self.width


def bands(height: int, width: int, side: int) -> list[list[Region]]:
    """Return rows of regions, from top to bottom and from left to right.

    Parameters
    ----------
    height, width : int
        Of the labels.
    side : int
        Of a region; those at the right and lower edge may be smaller.
    """
    columns = -(-width // side)
    return [
        [
            Region(
                index=row // side * columns + column // side,
                row=row,
                column=column,
                height=min(side, height - row),
                width=min(side, width - column),
            )
            for column in range(0, width, side)
        ]
        for row in range(0, height, side)
    ]
