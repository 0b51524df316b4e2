"""The tools that are compared: one row each."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "nucleiseg"
"""Name of the row that the others are held against."""

AGAINST = {"maps": "mask", "mask": "mask", "labels": "labels"}
"""Which output of ours an output of another tool is held against. Maps alone are less than a mask:
what is left out speaks for the other tool."""


@dataclass(frozen=True)
class Peer:
    """A tool.

    Attributes
    ----------
    name : str
        What ``--only`` takes.
    title : str
        What the tables show.
    program : str
        The file in ``programs/``.
    environment : str or None
        Key of `ENVIRONMENTS`; None is the Python that runs the benchmark.
    largest : int
        Side in pixels of the largest picture that it is given, for time and memory.
    quick_largest : int
        The same in a quick run.
    needs_float_graph : bool
        Whether it runs our model before its weights were rounded to int8.
    """

    name: str
    title: str
    program: str
    environment: str | None
    largest: int = 4096
    quick_largest: int = 4096
    needs_float_graph: bool = False


PEERS = (
    Peer(OURS, "nucleiseg", "ours", None),
    Peer("nuclei-fast", "nucleiseg, nuclei-fast", "ours_fast", None),
    Peer(
        "openvino",
        "our model, OpenVINO float32",
        "openvino_float",
        "openvino",
        needs_float_graph=True,
    ),
    Peer(
        "onnxruntime",
        "our model, ONNX Runtime float32",
        "onnxruntime_float",
        None,
        needs_float_graph=True,
    ),
    Peer("instanseg", "InstanSeg", "instanseg_nuclei", "torch", 1024, 512),
    Peer("stardist", "StarDist 2D", "stardist_2d", "tensorflow", 2048, 512),
    Peer("unet", "plain U-Net, Keras", "plain_unet", "tensorflow", 1024, 512),
    Peer("cellpose", "Cellpose 4", "cellpose_sam", "torch", 512, 256),
)

ENVIRONMENTS = {
    "openvino": ("openvino==2026.4.1",),  # and NumPy, which it needs itself
    "tensorflow": (
        "tensorflow-cpu==2.21.0; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "tensorflow==2.21.0; sys_platform != 'linux' or platform_machine != 'x86_64'",
        "stardist==0.9.2",
    ),
    "torch": (
        "torch==2.14.1",
        "torchvision==0.29.1",
        "cellpose==4.2.1.1",
        "instanseg-torch==0.1.2",
        "pandas",  # imported by InstanSeg, like the next, but not among its requirements
        "seaborn",
    ),
}
"""What each environment of its own is made of."""


def chosen(names: list[str]) -> list[Peer]:
    """Return the rows of these names in the order of the table, all for none; ours is always there.

    Raises
    ------
    ValueError
        An unknown name.
    """
    known = [peer.name for peer in PEERS]
    for name in names:
        if name not in known:
            raise ValueError(f"only: got {name!r}; accepted are {', '.join(map(repr, known))}")
    return [peer for peer in PEERS if not names or peer.name in (*names, OURS)]
