"""The command ``nucleiseg train``: a model of one's own from annotated images."""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from nucleiseg.command_options import (
    ModelOption,
    examples,
    input_option,
    output_option,
    run_option,
)
from nucleiseg.console import FAILED, cannot_start, say
from nucleiseg.model import FAST

EXAMPLES = examples(
    "nucleiseg train --data mine/ -o mine.onnx",
    "nucleiseg train --data mine/ --validation others/ -o mine.onnx --model nuclei --minutes 40",
    "nucleiseg segment images/ --model mine.onnx",
)

MINUTES = 10.0
"""What a training takes where neither minutes nor steps are given."""


def train(
    data: Annotated[
        Path,
        input_option(
            metavar="FOLDER",
            help="Annotated images: NAME.png with NAME_labels.png or NAME_masks.png beside it, or "
            "the folders images and labels (or masks) with files of the same names.",
        ),
    ],
    output: Annotated[
        Path, output_option("--output", "-o", metavar="MODEL", help="The .onnx file to write.")
    ],
    model: ModelOption = FAST,
    validation: Annotated[
        Path | None,
        input_option(
            metavar="FOLDER",
            help="Annotated images to measure with, of other patients or slides.",
            show_default="a fifth of --data",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        run_option(
            min=0.1, help="How long to train.", show_default=f"{MINUTES:.0f}, without --steps"
        ),
    ] = None,
    steps: Annotated[
        int | None, run_option(min=1, help="Steps to train instead, which can be repeated.")
    ] = None,
    seed: Annotated[int, run_option(min=0, help="Of the order and the held-out images.")] = 0,
    overwrite: Annotated[bool, output_option("--overwrite", help="Replace MODEL.")] = False,
    even_if_worse: Annotated[
        bool,
        output_option(
            "--even-if-worse", help="Write MODEL though its AP@0.5 is below the start's."
        ),
    ] = False,
) -> None:
    """Train a model on your own annotated images, from a shipped one.

    MODEL is an int8 model that --model takes everywhere, with a .json, its float weights and a
    picture of its curves beside it. It is not written where the held-out images are segmented
    worse than before; the exit code is then 1.
    """
    with cannot_start(interrupted="no model is written"):
        _check(output, minutes, steps, overwrite)
        for option, folder in (("--data", data), ("--validation", validation)):
            if folder is not None and not folder.is_dir():
                raise ValueError(f"{option}: no such folder: {folder}")
        found = _finetune().finetune(
            data,
            output,
            model,
            validation=validation,
            minutes=None if steps else minutes or MINUTES,
            steps=steps,
            seed=seed,
            even_if_worse=even_if_worse,
            report=partial(print, flush=True),
        )
    before, after = found.before, found.after
    print(f"before: Dice {before.dice:.3f}, AP@0.5 {before.ap50:.3f}")
    print(f"after:  Dice {after.dice:.3f}, AP@0.5 {after.ap50:.3f}, at step {after.step}")
    if not found.written:
        say(f"{output} is not written: AP@0.5 is below that of {model}; see --even-if-worse")
        raise typer.Exit(FAILED)
    print(f"{output}: use it with --model {output}")


def _check(output: Path, minutes: float | None, steps: int | None, overwrite: bool) -> None:
    if output.suffix != ".onnx":
        raise ValueError(f"--output: got {output}; accepted is a file whose name ends in .onnx")
    if minutes is not None and steps is not None:
        raise ValueError("--steps: accepted is either --steps or --minutes")
    there = [path for path in map(output.with_suffix, (".onnx", ".json")) if path.exists()]
    if there and not overwrite:
        raise ValueError(f"--output: {there[0]} exists; add --overwrite or name another")


def _finetune() -> ModuleType:
    """Import what trains: part of the installed package, and beside it in the source tree."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    source = Path(__file__).resolve().parents[1]
    if (source / "training" / "finetune.py").is_file():
        sys.path.append(str(source))
    missing = ""
    for package in ("nucleiseg.training", "training"):
        try:
            return importlib.import_module(f"{package}.finetune")
        except ModuleNotFoundError as error:
            missing = str(error.name)
            if missing != package:
                break
    raise ImportError(f"nucleiseg train needs {missing}: pip install 'nucleiseg[train]'")
