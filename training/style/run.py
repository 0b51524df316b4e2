"""One image from the content to the result, with all that a run leaves in its folder."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from nucleiseg import images

from ..report import csv_text
from . import pictures
from .features import Features
from .losses import Losses, Objective, Weights
from .optimizers import OPTIMIZERS, Pixels, State
from .read import Picture, is_grey

LEG = 50
"""Steps after which the state is saved. L-BFGS begins each leg without a memory, so that a run in
several sittings gives what one in one sitting does; legs of 10 had half the descent."""

SETTINGS, CHECKPOINT, STAGES = "settings.json", "checkpoint.npz", "stages"


@dataclass(frozen=True)
class Settings:
    """How an image is restyled.

    Attributes
    ----------
    steps, save_every : int
        Steps in all, and those between two stages.
    weights : Weights
    optimizer : {"lbfgs", "adam"}
    start : {"content", "noise"}
        The image to begin with.
    seed : int
        Of the noise.
    keep_luminance : bool
        Take the colours of the result alone, and the content's lightness.
    """

    steps: int = 100
    save_every: int = 10
    weights: Weights = field(default_factory=Weights)
    optimizer: str = "lbfgs"
    start: str = "content"
    seed: int = 0
    keep_luminance: bool = False


@dataclass
class Progress:
    """How far an image is, which is what the rest of a run depends on: its pixels in 0..1, the
    state of the optimiser, and the losses after each step."""

    flat: Pixels
    state: State = field(default_factory=list)
    losses: list[Losses] = field(default_factory=list)

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return len(self.losses)


def begin(content: Picture, settings: Settings) -> Progress:
    """Return the image before the first step."""
    if settings.start == "noise":
        rng = np.random.default_rng(settings.seed)
        return Progress(rng.uniform(0.0, 1.0, content.size))
    return Progress(content.ravel() / 255.0)


def legs(
    features: Features,
    content: Picture,
    style: Picture,
    settings: Settings,
    progress: Progress,
    stage: Callable[[int, Pixels], None] | None = None,
) -> Iterator[None]:
    """Take the steps that are left, and yield after each leg of `LEG` steps.

    Parameters
    ----------
    features : Features
    content, style : ndarray, (H, W, 3) uint8
        That `read.check` accepts.
    settings : Settings
    progress : Progress
        Where to begin; it is changed.
    stage : callable, optional
        Called with the step and the image after each `save_every` steps and after the last one.
        Without it no bar is shown.

    Raises
    ------
    ValueError
        The loss is not finite.
    """
    objective = Objective(features, content / 255.0, style / 255.0, settings.weights)
    optimize = OPTIMIZERS[settings.optimizer]
    bar = tqdm(total=settings.steps, initial=progress.step, unit="step", disable=stage is None)

    def after(flat: Pixels) -> None:
        progress.losses.append(objective.losses)
        if stage and progress.step % settings.save_every == 0:
            stage(progress.step, flat)
        losses = (f"{name} {value:.4f}" for name, value in objective.losses._asdict().items())
        bar.set_postfix_str(" ".join(losses), refresh=False)
        bar.update()

    with bar:
        while (first := progress.step) < settings.steps:
            steps = min(LEG, settings.steps - first)
            progress.flat, progress.state = optimize(
                objective, progress.flat, progress.state, steps, after
            )
            stuck = progress.step < first + steps  # no step makes the loss smaller
            if stage and (stuck or progress.step == settings.steps):
                stage(progress.step, progress.flat)
            yield
            if stuck:
                return


def picture_of(flat: Pixels, content: Picture, style: Picture, keep_luminance: bool) -> Picture:
    """Return the image as it is shown: (H, W, 3) uint8, grey where content and style are."""
    values = 255 * flat.reshape(content.shape)
    if is_grey(content) and is_grey(style):
        values = np.repeat(values.mean(axis=-1, keepdims=True), 3, axis=-1)
    picture = np.rint(values).astype(np.uint8)
    if not keep_luminance:
        return picture
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.cvtColor(content, cv2.COLOR_RGB2LAB)[..., 0]
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def transfer(
    features: Features,
    content: Picture,
    style: Picture,
    settings: Settings,
    output: Path,
    origin: dict[str, str],
    resume: bool = False,
) -> Picture:
    """Restyle one image, and leave stages, curves, sheet, GIF and result in a folder.

    Parameters
    ----------
    features, content, style, settings
        See `legs`.
    output : Path
        Of the run.
    origin : dict
        What else the result depends on, such as checksums of the files.
    resume : bool
        Go on from the run's last leg, where it has one. More steps than before may be asked for.

    Returns
    -------
    ndarray, (H, W, 3) uint8

    Raises
    ------
    ValueError
        The folder holds a run and ``resume`` is False or the run was another one, or the loss is
        not finite.
    """
    described = settle(output / SETTINGS, asdict(settings) | origin, resume, may_change=("steps",))
    progress = _load(output) or begin(content, settings)
    (output / STAGES).mkdir(parents=True, exist_ok=True)

    def stage(step: int, flat: Pixels) -> None:
        shown = picture_of(flat, content, style, settings.keep_luminance)
        images.write_png(output / STAGES / f"{step:05}.png", shown)

    if not progress.step:
        stage(0, progress.flat)
    for _ in legs(features, content, style, settings, progress, stage):
        images.write(output / SETTINGS, described)
        _save(output, progress)
    result = picture_of(progress.flat, content, style, settings.keep_luminance)
    images.write_png(output / "result.png", result)
    _show(output, content, style, progress, result)
    return result


def settle(
    path: Path, settings: dict[str, Any], resume: bool, may_change: tuple[str, ...] = ()
) -> bytes:
    """Check that a folder is new or its run depends on the same, and return what is to be written.

    Raises
    ------
    ValueError
        There is a run and ``resume`` is False, or a setting changed that must not.
    """
    now = json.loads(json.dumps(settings))
    if path.exists() and not resume:
        raise ValueError(f"output: {path.parent} holds a run; add --resume or name another")
    if path.exists():
        before = json.loads(path.read_text())
        changed = [name for name in now if name not in may_change and before.get(name) != now[name]]
        if changed:
            raise ValueError(
                f"resume: {path.parent} was started with "
                + ", ".join(f"{name} {before.get(name)} (now {now[name]})" for name in changed)
            )
    return json.dumps(now, indent=1).encode()


def _save(output: Path, progress: Progress) -> None:
    rows: list[list[object]] = [["step", *Losses._fields]]
    for step, losses in enumerate(progress.losses, start=1):
        rows.append([step, *(f"{one:.6g}" for one in losses)])
    images.write(output / "losses.csv", csv_text(rows).encode())
    data = io.BytesIO()
    state = {f"state{number}": one for number, one in enumerate(progress.state)}
    np.savez(data, flat=progress.flat, losses=np.array(progress.losses), **state)
    images.write(output / CHECKPOINT, data.getvalue())


def _load(output: Path) -> Progress | None:
    path = output / CHECKPOINT
    if not path.exists():
        return None
    with np.load(path) as held:
        state = [held[f"state{number}"] for number in range(len(held.files) - 2)]
        return Progress(held["flat"], state, [Losses(*row) for row in held["losses"].tolist()])


def _show(
    output: Path, content: Picture, style: Picture, progress: Progress, result: Picture
) -> None:
    """Draw the sheet, the GIF and the curves."""
    paths = sorted((output / STAGES).glob("*.png"))
    paths = [path for path in paths if int(path.stem) <= progress.step]
    stages = [images.read(path) for path in paths]
    shown = [(f"step {int(paths[at].stem):,}", stages[at]) for at in pictures.spaced(len(stages))]
    titled = [("content", content), ("style", style), *shown, ("result", result)]
    pictures.sheet(titled, output / "stages.png")
    pictures.gif(stages, output / "transition.gif")
    pictures.curves(progress.losses, output / "losses.png")
