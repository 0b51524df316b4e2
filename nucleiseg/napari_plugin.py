"""The command "Segment nuclei" of napari: a labels layer made of an image layer.

Only napari imports this module, which it finds through ``napari.yaml``. Annotations are types and
not text, because napari builds the widget from them.
"""

from functools import cache
from itertools import product
from typing import Annotated, Any

import numpy as np
from napari.layers import Image
from napari.qt.threading import FunctionWorker, thread_worker
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from nucleiseg.readers import UnacceptedError, dtypes
from nucleiseg.segmenter import Segmenter

PLACEMENT = ("scale", "translate", "rotate", "shear", "affine")
"""What a labels layer copies from its image, so that both have the same place."""

_DIAMETER = {
    "label": "diameter",
    "tooltip": "Usual diameter of a nucleus in pixels; 0 estimates it.",
    "min": 0.0,
    "max": 5000.0,
}


def segment_nuclei(
    image: Image, diameter: Annotated[float, _DIAMETER] = 0.0
) -> FunctionWorker[LayerDataTuple]:
    """Segment the nuclei of an image layer in the background.

    Parameters
    ----------
    image : napari.layers.Image
        Grey or RGB. Planes of volumes and frames of time series are segmented one by one.
    diameter : float
        Usual diameter of a nucleus in pixels; 0 estimates it.

    Returns
    -------
    FunctionWorker
        It returns a labels layer, which napari shows when it is done.
    """
    worker: FunctionWorker[LayerDataTuple] = thread_worker(labels_layer)(image, diameter)
    worker.start()
    return worker


def labels_layer(image: Image, diameter: float = 0.0) -> LayerDataTuple:
    """Return the labels of an image layer as napari takes a layer: data, options, kind."""
    data = image.data[0] if image.multiscale else image.data
    found = labels(data, image.rgb, diameter or None)
    placement = {name: getattr(image, name) for name in PLACEMENT}
    return LayerDataTuple((found, {"name": f"{image.name} nuclei", **placement}, "labels"))


def labels(data: Any, rgb: bool, diameter: float | None = None) -> NDArray[np.int32]:
    """Return the labels of every plane of an array.

    Parameters
    ----------
    data : array, (..., H, W) or (..., H, W, C)
        NumPy's, or a lazy one of which planes are loaded one by one.
    rgb : bool
        Whether the last axis holds colours.
    diameter : float, optional
        Usual diameter of a nucleus in pixels.

    Returns
    -------
    ndarray, (..., H, W) int32
        0 background, 1..n a nucleus each; no two planes share a number.
    """
    shape = data.shape[:-1] if rgb else data.shape
    found = np.zeros(shape, np.int32)
    count = 0
    for index in product(*map(range, shape[:-2])):
        some = _segmenter().segment(_plane(data[index]), "labels", diameter=diameter)
        found[index] = np.where(some > 0, some + count, 0)
        count += int(some.max(initial=0))
    return found


def _plane(data: Any) -> NDArray[Any]:
    try:
        return dtypes.accepted(np.ascontiguousarray(data))
    except UnacceptedError as error:
        raise ValueError(f"image: {error}") from None


@cache
def _segmenter() -> Segmenter:
    return Segmenter()
