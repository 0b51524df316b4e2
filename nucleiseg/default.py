"""`segment`: one image, from the default model, in one call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, overload

from nucleiseg.backends import Array
from nucleiseg.driver import Output
from nucleiseg.resizing import Scale
from nucleiseg.segmenter import Image, Labels, Maps, Mask, Segmenter
from nucleiseg.stains import Stain

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nucleiseg.parameters import HostOptions, Options, Parameters

_default: Segmenter | None = None
_default_lock = threading.Lock()


@overload
def segment(
    image: Image, output: Literal["mask"] = ..., **options: Unpack[HostOptions]
) -> Mask: ...
@overload
def segment(image: Image, output: Literal["labels"], **options: Unpack[HostOptions]) -> Labels: ...
@overload
def segment(image: Image, output: Literal["maps"], **options: Unpack[HostOptions]) -> Maps: ...
@overload
def segment(
    image: Image, output: Output = ..., *, to_host: bool = ..., **options: Unpack[Options]
) -> Array: ...
def segment(
    image: Image,
    output: Output = "mask",
    *,
    scale: Scale = "auto",
    mpp: float | None = None,
    diameter: float | None = None,
    stain: Stain = "auto",
    to_host: bool = True,
    **parameters: Unpack[Parameters],
) -> Array:
    """Return a mask, labels or maps of one image, from the default model.

    The first call loads and compiles the model; later ones reuse it. See `Segmenter.segment` for
    arguments, results and errors, and `Segmenter` for a choice of model, device and threads.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = Segmenter()
    return _default.segment(
        image,
        output,
        scale=scale,
        mpp=mpp,
        diameter=diameter,
        stain=stain,
        to_host=to_host,
        **parameters,
    )
