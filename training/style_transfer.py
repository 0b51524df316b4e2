"""Restyle an image: ``python -m training.style_transfer --content A --style B --output DIR``.

With ``--batch DIR --style DIR`` it restyles a folder of annotated images and keeps their labels.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

import numpy as np

# TensorFlow's remarks on the machine would stand between the lines of the bar.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf

from . import weights
from .argument_types import weight, whole
from .style import batch, features, run
from .style.losses import Weights
from .style.read import Picture, check, read
from .topology import ACCURATE


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    options = parser().parse_args(arguments)
    _check(options)
    keras.config.set_dtype_policy("float32")
    if tf.config.list_physical_devices("GPU"):  # on a CPU its sums have one order anyway
        tf.config.experimental.enable_op_determinism()
    try:
        if options.batch:
            _folder(options, _settings(options))
        else:
            _single(options, _settings(options))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit("interrupted; --resume goes on") from None


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="python -m training.style_transfer", description=__doc__)
    add = made.add_argument
    standard, balance = run.Settings(), Weights()
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--content", type=Path, metavar="IMAGE", help="whose objects are kept")
    what.add_argument(
        "--batch",
        type=Path,
        metavar="DIR",
        help="annotated images, as training.train takes them; those held out are left alone",
    )
    add(
        "--style",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="the image whose stain is taken over; with --batch folders, of which each image gets "
        "a random one",
    )
    add("--output", type=Path, required=True, metavar="DIR", help="folder of this run")
    add("--steps", type=whole(1), default=standard.steps, help="default %(default)s")
    add(
        "--size",
        type=whole(1),
        metavar="S",
        help="take the middle S x S pixels of the content, and at most that of the style",
    )
    for name, value in balance._asdict().items():
        add(f"--{name}-weight", type=weight, default=value, help="default %(default)s")
    add(
        "--optimizer",
        choices=("lbfgs", "adam"),
        default=standard.optimizer,
        help="default %(default)s",
    )
    add(
        "--start",
        choices=("content", "noise"),
        default=standard.start,
        help="the image to begin with, default %(default)s",
    )
    add("--keep-luminance", action="store_true", help="take over colours alone")
    add(
        "--save-every",
        type=whole(1),
        default=standard.save_every,
        metavar="N",
        help="steps from one stage to the next, default %(default)s",
    )
    add("--features", choices=("nuclei", "vgg19"), default="nuclei", help="default %(default)s")
    add("--weights", type=Path, metavar="FILE", help="of --features; vgg19 needs them")
    add("--seed", type=whole(0), default=0, help="of noise, and of which style is taken")
    add("--resume", action="store_true", help="go on with the run that --output holds")
    return made


def _check(options: argparse.Namespace) -> None:
    """Refuse what cannot be meant."""
    if keras.backend.backend() != "tensorflow":
        raise SystemExit(
            f"KERAS_BACKEND: got {keras.backend.backend()!r}; gradients are TensorFlow's here"
        )
    if not (options.content_weight or options.style_weight or options.tv_weight):
        raise SystemExit("--content-weight, --style-weight, --tv-weight: one of them has to count")
    if options.batch and options.size:
        raise SystemExit("--size: with --batch images keep their size, as their labels do")
    if options.content and len(options.style) > 1:
        raise SystemExit(f"--style: {len(options.style)} for one --content; name one image")


def _settings(options: argparse.Namespace) -> run.Settings:
    return run.Settings(
        steps=options.steps,
        save_every=options.save_every,
        weights=Weights(options.content_weight, options.style_weight, options.tv_weight),
        optimizer=options.optimizer,
        start=options.start,
        seed=options.seed,
        keep_luminance=options.keep_luminance,
    )


def _folder(options: argparse.Namespace, settings: run.Settings) -> None:
    pairs = batch.paired(options.batch, options.style, settings)
    network = features.load(options.features, options.weights)
    batch.restyle(network, pairs, settings, options.output, _origin(options), options.resume)


def _single(options: argparse.Namespace, settings: run.Settings) -> None:
    content = read("content", options.content)
    style = read("style", options.style[0])
    if options.size:
        content = _middle(content, options.size)
        style = _middle(style, options.size, smaller_too=True)
    check(content, style, settings.keep_luminance)
    network = features.load(options.features, options.weights)
    pictures = {"content": _checksum(content.tobytes()), "style": _checksum(style.tobytes())}
    origin = pictures | _origin(options)
    result = run.transfer(network, content, style, settings, options.output, origin, options.resume)
    dice = batch.agreement(content, result)
    print(
        f"{options.output / 'result.png'}: nuclei of content and result have a Dice of {dice:.3f}"
    )


def _origin(options: argparse.Namespace) -> dict[str, str]:
    """Return the name of the network that compares."""
    used = options.weights or weights.shipped(ACCURATE.name)
    return {"features": options.features, "weights_file": _checksum(used.read_bytes())}


def _middle(picture: Picture, size: int, smaller_too: bool = False) -> Picture:
    height, width = picture.shape[:2]
    if min(height, width) < size and not smaller_too:
        raise ValueError(f"size: got {size}, and the content has {height} x {width} pixels")
    top, left = max(0, (height - size) // 2), max(0, (width - size) // 2)
    return np.ascontiguousarray(picture[top : top + size, left : left + size])


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
