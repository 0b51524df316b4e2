"""The wiring of each network, written down once.

The Keras model (`unet`), the integer network (`integers`), the ONNX file (`export`) and the halo
follow `Topology.nodes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

LEVELS = 5
"""Resolutions of a network: 1/2 of the image's, 1/4, ... 1/32."""

STRIDE = 2**LEVELS
"""Image sides are multiples of this many pixels."""

BLOCK = 2
"""The last convolution answers for blocks of this many pixels per side."""

IMAGE = "image"
"""The input, which no node makes."""

Kind = Literal["stem", "convolution", "pool", "grow", "join", "logits"]


class Node(NamedTuple):
    """One step of a network.

    Attributes
    ----------
    name : str
    kind : str
        ``stem`` and ``convolution`` end with a ReLU; the stem has step 2. ``pool`` keeps the
        largest of 2 x 2 positions, ``grow`` is a transposed 2 x 2 convolution, ``join``
        concatenates channels, and ``logits`` is the last convolution, without a ReLU.
    inputs : tuple of str
        Names of the nodes whose tensors it reads, or `IMAGE`.
    width : int
        Channels of its tensor.
    stride : int
        Image pixels from one position of its tensor to the next.
    side : int
        Of its kernel.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    width: int
    stride: int
    side: int = 3

    @property
    def step(self) -> int:
        """Positions of a convolution's input from one output to the next."""
        return 2 if self.kind == "stem" else 1

    @property
    def pads(self) -> tuple[int, int]:
        """Positions that a convolution pads before and after, as "same" padding does."""
        missing = self.side - self.step
        return missing // 2, missing - missing // 2


class Link(NamedTuple):
    """A tensor between convolutions: its maker, and from which channel on each user reads it."""

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
        Side of the first convolution, whose step is 2. One of 6 x 6 computes what a 3 x 3
        convolution computes of the four pixels of each position side by side (space to depth).
    """

    name: str
    widths: tuple[int, ...]
    down: tuple[int, ...]
    up: tuple[int, ...]
    stem: int

    def nodes(self) -> list[Node]:
        """Return the nodes in the order in which a network runs them; the last is ``logits``."""
        found = [Node("stem", "stem", (IMAGE,), self.widths[0], 2, self.stem)]
        for level, width in enumerate(self.widths):
            stride = 2 ** (level + 1)
            if level:
                below = self.widths[level - 1]
                found.append(Node(f"pool{level}", "pool", (found[-1].name,), below, stride, 2))
            for letter in ("a", "b", "c")[: self.down[level]]:
                name = f"down{level}{letter}"
                found.append(Node(name, "convolution", (found[-1].name,), width, stride))
        skips = {node.stride: node.name for node in found if node.kind != "pool"}
        for level in reversed(range(len(self.up))):
            width, stride = self.widths[level], 2 ** (level + 1)
            found.append(Node(f"grow{level}", "grow", (found[-1].name,), width, stride, 2))
            both = (skips[stride], found[-1].name)
            found.append(Node(f"join{level}", "join", both, 2 * width, stride))
            for letter in ("", "b", "c")[: self.up[level]]:
                name = f"up{level}{letter}"
                found.append(Node(name, "convolution", (found[-1].name,), width, stride))
        found.append(Node("logits", "logits", (found[-1].name,), 2 * BLOCK**2, BLOCK))
        return found

    def links(self) -> list[Link]:
        """Return the tensors between the convolutions, those of the highest resolution first.

        Those that are joined share a range, since a joined tensor has one scale.
        """
        nodes = {node.name: node for node in self.nodes()}
        users: dict[str, list[tuple[str, int]]] = defaultdict(list)
        ranges: dict[str, str] = {}
        origins: dict[str, list[tuple[str, int]]] = {IMAGE: []}  # makers, and their first channels
        for node in nodes.values():
            read: list[tuple[str, int]] = []
            for name in node.inputs:
                before = sum(nodes[maker].width for maker, _ in read)
                read += [(maker, before + first) for maker, first in origins[name]]
            if node.kind == "join":
                ranges |= {maker: node.name for maker, _ in read}
            if node.kind not in ("join", "pool"):
                for maker, first in read:
                    users[maker].append((node.name, first))
                read = [(node.name, 0)]
            origins[node.name] = read
        makers = sorted(users, key=lambda maker: nodes[maker].stride)
        return [Link(maker, tuple(users[maker]), ranges.get(maker, maker)) for maker in makers]

    def halo(self) -> int:
        """Count the pixels around a stride-aligned square that its maps depend on.

        Where tiles overlap by twice this much and are cut at multiples of `STRIDE`, their maps are
        those of the whole image, whatever the tiles' size.

        Returns
        -------
        int
            Pixels, a multiple of `STRIDE`.
        """
        nodes = {node.name: node for node in self.nodes()}
        first, last = _seen(nodes, "logits", 0, STRIDE // BLOCK - 1)
        reach = max(-first, last - (STRIDE - 1))
        return -(-reach // STRIDE) * STRIDE


def _seen(nodes: Mapping[str, Node], name: str, first: int, last: int) -> tuple[int, int]:
    """Return the first and last image pixel that a node's positions first..last depend on."""
    if name == IMAGE:
        return first, last
    node = nodes[name]
    if node.kind == "pool":
        first, last = 2 * first, 2 * last + 1
    elif node.kind == "grow":
        first, last = first // 2, last // 2
    elif node.kind != "join":
        before = node.pads[0]
        first, last = node.step * first - before, node.step * last - before + node.side - 1
    seen = [_seen(nodes, one, first, last) for one in node.inputs]
    return min(one for one, _ in seen), max(one for _, one in seen)


ACCURATE = Topology(
    name="nuclei", widths=(32, 64, 96, 160, 256), down=(1, 2, 3, 3, 2), up=(2, 2, 2, 2), stem=6
)
"""About 35,600 multiply-adds per pixel: for what is looked at once, as slides are."""

FAST = Topology(
    name="nuclei-fast", widths=(16, 32, 64, 128, 256), down=(1, 2, 2, 2, 2), up=(1, 1, 1, 1), stem=3
)
"""About 9,500 multiply-adds per pixel: for cameras. Two convolutions per level of the decoder
too would be 12,400."""

TEACHER = Topology(
    name="nuclei-teacher",
    widths=(64, 128, 192, 256, 384),
    down=(2, 2, 3, 3, 3),
    up=(2, 2, 2, 2),
    stem=6,
)
"""About 140,000 multiply-adds per pixel: what the other two learn from. It does not ship."""

NETWORKS = {one.name: one for one in (TEACHER, ACCURATE, FAST)}
