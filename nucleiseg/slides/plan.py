"""Everything about a slide's run that is known before its regions are computed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import journal, stains
from nucleiseg.limits import Limits
from nucleiseg.model import DEFAULT, Model
from nucleiseg.parameters import Decoding
from nucleiseg.slides import area as areas
from nucleiseg.slides import limits as slide_limits
from nucleiseg.slides import readers, scaled, tissue
from nucleiseg.slides.area import Area
from nucleiseg.slides.grid import BLOCK, Region, bands
from nucleiseg.slides.nuclei import SlideInfo
from nucleiseg.slides.slide import Slide
from nucleiseg.slides.task import Settings

MEMORY = 2e9
"""Bytes that a run may take, where nothing else is said."""

AT_ONCE = 2
"""Regions that a process works on at once: one in the network, one being read or decoded."""

BASE_BYTES = 4.5e8
"""Of Python, its libraries, the model and what the outputs hold."""

NETWORK_BYTES, REGION_BYTES = 18, 24
"""For one pixel: of the tile in the network, and of each region at work."""

SIDES = (4096, 3072, 2048, 1024)
"""Of regions."""


@dataclass(frozen=True)
class Options:
    """What a user may ask for; see `nucleiseg.slides.segment_slide`."""

    model: Model | str | Path = DEFAULT
    device: str = "auto"
    threads: int | None = None
    mpp: float | None = None
    channel: int | None = None
    tissue: str | Path = "auto"
    region: tuple[int, int, int, int] | None = None
    memory: float = MEMORY
    side: int | None = None
    stain: str = "auto"
    decoding: Decoding = field(default_factory=Decoding)


@dataclass(frozen=True)
class Plan:
    """A slide's run.

    Attributes
    ----------
    info : SlideInfo
    settings : task.Settings
    area : Area
    bands : list of list of Region
    files : list of Path
        That the slide consists of.
    identity : dict
        All that the results depend on beside those files.
    """

    info: SlideInfo
    settings: Settings
    area: Area
    bands: list[list[Region]]
    files: list[Path]
    identity: dict[str, Any]

    @property
    def tissue_um2(self) -> float:
        """Square micrometres that are looked at."""
        return self.area.count() * self.info.label_mpp[0] * self.info.label_mpp[1]


def plan(path: Path, options: Options) -> Plan:
    """Open a slide and find out what there is to do.

    Raises
    ------
    FileNotFoundError
    ValueError
        The slide cannot be used, or an option does not fit it.
    """
    model = options.model if isinstance(options.model, Model) else Model.load(options.model)
    side = side_of(options, model)
    stains.check(options.stain)
    with readers.open(path, channel=options.channel) as slide:
        size = scaled.choose(slide, options.mpp, model)
        least = (math.prod(slide.levels[0]) / tissue.MOST_PIXELS) ** 0.5
        picture, unread = slide.thumbnail(max(1.0, tissue.MPP / size.mpp, least))
        is_recoloured = stains.shown(picture, options.stain) is not picture
        stain = options.stain.replace("auto", "dab") if is_recoloured else "he"
        mask = _mask(options.tissue, slide, picture, unread, size.mpp)
        rectangle = areas.rectangle(options.region, slide.levels[0], size.shape)
        limits = Limits(0, 0, math.inf, 0)
        if mask is None or mask.any():
            # Of the whole slide, so that a rectangle of it has the same labels.
            limits = slide_limits.find(slide, size.level, mask, model, options.threads or 1, stain)
        settings = Settings(
            path=str(path.absolute()),
            channel=options.channel,
            size=size,
            limits=limits,
            model=str(model.path.absolute()),
            checksum=model.checksum,
            device=options.device,
            threads=options.threads,
            decoding=options.decoding,
            stain=stain,
            tile=-(-side // model.stride) * model.stride + 2 * model.halo + model.stride,
        )
        return Plan(
            info=_info(slide, settings, options, model, picture),
            settings=settings,
            area=Area(size.shape, mask, rectangle),
            bands=bands(*size.shape, side),
            files=slide.files,
            identity=_identity(settings, options, model, side, mask),
        )


def side_of(options: Options, model: Model) -> int:
    """Return the side of regions for which there is memory.

    Raises
    ------
    ValueError
        There is too little for the smallest, or a side that was asked for is none.
    """
    if options.side is not None:
        if options.side < BLOCK or options.side % BLOCK:
            raise ValueError(f"side: got {options.side}; accepted are multiples of {BLOCK}")
        return options.side
    for side in SIDES:
        needed = memory(side + 2 * model.halo)
        if needed <= options.memory:
            return side
    raise ValueError(
        f"memory: got {options.memory / 1e9:.2g} GB; accepted is {needed / 1e9:.2f} GB or more"
    )


def memory(tile: int) -> float:
    """Return the bytes that a run takes whose largest tile has sides of so many pixels."""
    return BASE_BYTES + tile**2 * (NETWORK_BYTES + AT_ONCE * REGION_BYTES)


def _mask(
    wanted: str | Path,
    slide: Slide,
    picture: NDArray[Any],
    unread: NDArray[np.bool_],
    mpp: float,
) -> NDArray[np.bool_] | None:
    if wanted == "none":
        return None
    if wanted == "auto":
        # What could not be read may be tissue: its regions say why they fail, if they do.
        return tissue.find(picture, mpp * slide.levels[0][1] / picture.shape[1]) | unread
    height, width = picture.shape[:2]
    return tissue.given(Path(wanted), slide, (height, width))


def _info(
    slide: Slide, settings: Settings, options: Options, model: Model, picture: NDArray[Any]
) -> SlideInfo:
    size = settings.size
    height, width = slide.levels[0]
    down, across = height / size.shape[0], width / size.shape[1]
    return SlideInfo(
        path=slide.path,
        width=width,
        height=height,
        mpp=(size.mpp, size.mpp),
        scale=(down * across) ** 0.5,
        model=model.identity,
        settings={
            "tissue": str(options.tissue),
            "region": options.region,
            "channel": options.channel,
            **_stain(settings),
            "level": size.level,
            "limits": list(settings.limits),
            **settings.decoding.given,
        },
        label_height=size.shape[0],
        label_width=size.shape[1],
        label_mpp=(size.mpp * across, size.mpp * down),
        picture=picture,
        good_diameters=model.good_diameters,
    )


def _stain(settings: Settings) -> dict[str, str]:
    return {} if settings.stain == "he" else {"stain": settings.stain}


def _identity(
    settings: Settings,
    options: Options,
    model: Model,
    side: int,
    mask: NDArray[np.bool_] | None,
) -> dict[str, Any]:
    from nucleiseg import __version__

    return {
        "slide": Path(settings.path).name,
        "version": __version__,
        "decoders": readers.versions(),
        "model": model.identity,
        "description": journal.digest(model.metadata),
        "size": asdict(settings.size),
        "limits": [repr(one) for one in settings.limits],
        "tissue": "all" if mask is None else hashlib.sha256(np.packbits(mask).data).hexdigest(),
        "region": options.region,
        "channel": options.channel,
        **_stain(settings),
        "side": side,
        **settings.decoding.given,
    }
