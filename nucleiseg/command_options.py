"""Options that several commands share, and their help in groups."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from nucleiseg.model import shipped

INPUT, SIZE, NUCLEI, OUTPUT, RUN = "Input", "Size of nuclei", "Nuclei", "Output", "Run"
"""Groups of options."""

FOLDER = Path("nucleiseg_out")
"""For the results, in the folder in which a command is run."""

ModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|PATH",
        help=f"Shipped model ({', '.join(shipped())}), or the path of an .onnx file.",
        rich_help_panel=RUN,
    ),
]

Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Processor threads to use.",
        show_default="all",
        rich_help_panel=RUN,
    ),
]

NucleusThreshold = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="Probability from which a pixel is nucleus. Lower: larger nuclei.",
        show_default="the model's",
        rich_help_panel=NUCLEI,
    ),
]

Separation = Annotated[
    float | None,
    typer.Option(
        metavar="0..1",
        help="How far the map of distances must fall between two nuclei. Lower splits more, higher "
        "merges more.",
        show_default="the model's, 0.08 for those shipped",
        rich_help_panel=NUCLEI,
    ),
]

MinArea = Annotated[
    float | None,
    typer.Option(
        metavar="PIXELS",
        help="Drop nuclei of fewer pixels of the image.",
        show_default="the model's, 24 at its own scale",
        rich_help_panel=NUCLEI,
    ),
]

MinDiameter = Annotated[
    float | None,
    typer.Option(
        metavar="PIXELS",
        help="Drop nuclei whose area is less than that of a circle of this diameter.",
        rich_help_panel=NUCLEI,
    ),
]

MaxDiameter = Annotated[
    float | None,
    typer.Option(metavar="PIXELS", help="Drop nuclei that are larger.", rich_help_panel=NUCLEI),
]

ExcludeBorder = Annotated[
    bool,
    typer.Option(
        "--exclude-border",
        help="Drop nuclei that touch the border of what is segmented.",
        rich_help_panel=NUCLEI,
    ),
]

Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Say what is used, and each file as it is done.",
        rich_help_panel=RUN,
    ),
]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Say only what fails.", rich_help_panel=RUN),
]


class Grouped(TyperCommand):
    """A command whose options are shown in groups, as plain text of the terminal's width."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order in which they first occur."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            is_argument = each.param_type_name == "argument"
            other = "Arguments" if is_argument else "Other"
            if record:
                groups.setdefault(getattr(each, "rich_help_panel", None) or other, []).append(
                    record
                )
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines that are not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def given(**parameters: Any) -> dict[str, Any]:
    """Return the parameters that a user gave, each with a value that is accepted.

    Raises
    ------
    ValueError
        See `nucleiseg.parameters.Decoding`.
    """
    from nucleiseg.parameters import Decoding

    return Decoding(**parameters).given
