"""The driver: an image in, a mask or labels out, whatever the device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg import backends, scaling, tiling
from nucleiseg.model import Model
from nucleiseg.scaling import Scale

Image = NDArray[Any] | str | Path
Output = Literal["mask", "labels", "maps"]

OUTPUTS: tuple[Output, ...] = ("mask", "labels", "maps")

TILE = 3072
"""Largest side of a tile in pixels. The network's buffers for one of this size take about 600 MB;
smaller tiles spend more of their area on the halo (8,192 x 8,192 pixels, two threads: 17.8 Mpixel/s
with this, 15.7 with 2,048 and 9.3 with 1,024)."""

BATCH = 1
"""Tiles given to the network at once. On a CPU a batch gains nothing once a tile is large."""

WHOLE = TILE * TILE
"""Pixels up to which the first look at an image takes in all of it: where nothing needs resizing
that look is the answer. Of larger images a few windows are looked at, under 5 % of the area."""

LOOKS = 3
"""Scales that "auto" tries before it takes the last."""

IN_FLIGHT = 3
"""Images that `Segmenter.map` works on at once: one in the network, one before it, one after."""


class Everything(NamedTuple):
    """All that `Segmenter.segment_all` finds of one image.

    Attributes
    ----------
    mask : ndarray, (H, W) bool
    labels : ndarray, (H, W) int32
    maps : ndarray, (H, W, 2) uint8
    scale : float
        How far the network saw the image shrunk.
    """

    mask: NDArray[np.bool_]
    labels: NDArray[np.int32]
    maps: NDArray[np.uint8]
    scale: float


class Segmenter:
    """Find nuclei, with a model that is loaded and compiled once.

    It may be called from several threads at once.

    Parameters
    ----------
    model : Model, str or Path, optional
        The model or its ONNX file; the shipped model when left out.
    device : {"auto", "cpu", "cuda"}
        Where to run. "auto" takes a GPU that can be used, else the CPU.
    threads : int, optional
        Processor threads; all that this process may use when left out.
    tile : int, optional
        Largest side of a tile in pixels; a multiple of the model's stride, above twice its halo.
        Smaller tiles take less memory and more time, and give the same.
    batch : int, optional
        Tiles given to the network at once.

    Raises
    ------
    ModelError
        The model file is missing, damaged or not described.
    ValueError
        An argument out of its range, which the message names.
    RuntimeError
        ``device="cuda"`` where no GPU can be used.
    """

    def __init__(
        self,
        model: Model | str | Path | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        tile: int | None = None,
        batch: int | None = None,
    ) -> None:
        self.model = model if isinstance(model, Model) else Model.load(model)
        self.tile = _checked_tile(TILE if tile is None else tile, self.model)
        self.batch = _at_least_one("batch", BATCH if batch is None else batch)
        self._backend = backends.choose(device, self.model, threads)

    @property
    def backend_name(self) -> str:
        """The backend that was chosen: "cpu"."""
        return self._backend.name

    @property
    def threads(self) -> int:
        """Processor threads in use."""
        return self._backend.threads

    def segment(
        self,
        image: Image,
        output: Output = "mask",
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
    ) -> NDArray[Any]:
        """Find the nuclei of one image.

        Parameters
        ----------
        image : ndarray, str or Path
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, of uint8, uint16, int16, float32
            or float64, from 1 x 1 up; or an image file. Intensities are stretched, so their
            scale does not matter; alpha is not used.
        output : {"mask", "labels", "maps"}
            What to give.
        scale : "auto" or float
            How many times larger nuclei are in pixels than the model likes: the network sees the
            image shrunk by this factor. 1 takes the image as it is; "auto" looks how large nuclei
            are, and resizes only where they are outside of the range that the model is good at.
        mpp : float, optional
            Micrometres a pixel, instead of ``scale``.
        diameter : float, optional
            Diameter of a usual nucleus in pixels, instead of ``scale``.

        Returns
        -------
        ndarray
            Always of the image's own size.
            "mask": (H, W) bool, True where nucleus.
            "labels": (H, W) int32, 0 background, 1..n in raster order of first pixels.
            "maps": (H, W, 2) uint8, nucleus probability and centre distance, 0..255 for 0..1.

        Raises
        ------
        TypeError
            The array's dtype is not one of those above.
        ValueError
            Empty, of another shape, with NaN or infinity, or a file that is no whole image; or a
            scale, mpp or diameter out of range, or more than one of them.
        FileNotFoundError
            There is no such file.
        """
        _check_output(output, OUTPUTS)
        wanted = scaling.requested(scale, mpp, diameter, self.model)
        array = _as_array(image)
        levels = self._backend.percentiles(array)
        found, maps = self._look(array, levels) if wanted is None else (wanted, None)
        if maps is None:
            if output == "mask" and found == 1:
                return self._mask(array, levels)
            maps = self._maps(scaling.resized(array, found), levels)
        return self._decoded(maps, output, found, array.shape[:2])

    def segment_both(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Give mask and labels of one image in one go; see `segment`."""
        maps, found, shape = self._seen(image, scale, mpp, diameter)
        mask = self._decoded(maps, "mask", found, shape)
        return mask, self._decoded(maps, "labels", found, shape)

    def segment_all(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
    ) -> Everything:
        """Give mask, labels, maps and scale of one image in one go; see `segment`."""
        maps, found, shape = self._seen(image, scale, mpp, diameter)
        mask, labels, restored = (self._decoded(maps, each, found, shape) for each in OUTPUTS)
        return Everything(mask, labels, restored, found)

    def _seen(
        self, image: Image, scale: Scale, mpp: float | None, diameter: float | None
    ) -> tuple[NDArray[np.uint8], float, tuple[int, int]]:
        """Give the maps at the network's size, their scale and the image's own size."""
        wanted = scaling.requested(scale, mpp, diameter, self.model)
        array = _as_array(image)
        levels, shape = self._backend.percentiles(array), array.shape[:2]
        found, maps = self._look(array, levels) if wanted is None else (wanted, None)
        if maps is None:
            maps = self._maps(scaling.resized(array, found), levels)
        return maps, found, (shape[0], shape[1])

    def find_scale(self, image: Image) -> float:
        """Give the scale that ``scale="auto"`` takes for an image.

        Parameters
        ----------
        image : ndarray, str or Path

        Returns
        -------
        float
            1 where the image is taken as it is, 2 where it is shrunk to half.
        """
        array = _as_array(image)
        return self._look(array, self._backend.percentiles(array))[0]

    __call__ = segment

    def map(self, images: Iterable[Image], output: Output = "mask") -> Iterator[NDArray[Any]]:
        """Find the nuclei of many images, in their order.

        Reading, the network and decoding of neighbouring images overlap. At most `IN_FLIGHT`
        images are held at once, so ``images`` may be endless.

        Parameters
        ----------
        images : iterable
            Whatever `segment` takes.
        output : {"mask", "labels", "maps"}

        Yields
        ------
        ndarray
            As `segment` gives it. An image that fails raises its error here, in its turn.
        """
        _check_output(output, OUTPUTS)
        return self._map(images, output)

    def _map(self, images: Iterable[Image], output: Output) -> Iterator[NDArray[Any]]:
        with ThreadPoolExecutor(IN_FLIGHT, "nucleiseg") as pool:
            waiting: deque[Future[NDArray[Any]]] = deque()
            try:
                for image in images:
                    waiting.append(pool.submit(self.segment, image, output))
                    if len(waiting) == IN_FLIGHT:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def decode(
        self, maps: NDArray[np.uint8], output: Output = "mask", *, scale: float = 1.0
    ) -> NDArray[Any]:
        """Make a mask or labels of maps that `segment` gave, without the network.

        Parameters
        ----------
        maps : ndarray, (H, W, 2) uint8
        output : {"mask", "labels"}
        scale : float
            That of the maps (see `find_scale`): above 1 the smallest nuclei that count are larger.

        Returns
        -------
        ndarray
            (H, W) bool or (H, W) int32.
        """
        _check_output(output, OUTPUTS[:2])
        if output == "labels":
            return self._backend.label(maps, scale)
        mask = np.empty(maps.shape[:2], np.bool_)
        self._backend.mask(maps, mask)
        return mask

    def _look(
        self, image: NDArray[Any], levels: tuple[float, float]
    ) -> tuple[float, NDArray[np.uint8] | None]:
        """Find the scale; with the whole image's maps at that scale if they were looked at."""
        scale, whole = 1.0, image.shape[0] * image.shape[1] <= WHOLE
        for _ in range(LOOKS):
            if whole:
                maps = self._maps(scaling.resized(image, scale), levels)
                seen = [maps[window] for window in scaling.windows(maps[..., 0])]
            else:
                seen = [
                    self._maps(scaling.resized(part, scale), levels)
                    for part in scaling.parts(image, scale)
                ]
            labels = [self._backend.label(np.ascontiguousarray(part)) for part in seen]
            better = scaling.found(scale, scaling.diameters(labels), self.model)
            if better == scale:
                return scale, maps if whole else None
            scale = better
        return scale, None

    def _decoded(
        self, maps: NDArray[np.uint8], output: Output, scale: float, shape: tuple[int, int]
    ) -> NDArray[Any]:
        """Make the output, at the image's own size, of maps at the network's."""
        if scale < 1 and output != "maps":
            # Small nuclei that touch would run into one if their maps were shrunk.
            return _shrunk(self.decode(maps, output), shape)
        maps = scaling.restored(maps, shape, smooth=True)
        return maps if output == "maps" else self.decode(maps, output, scale=scale)

    def _maps(self, image: NDArray[Any], levels: tuple[float, float]) -> NDArray[np.uint8]:
        maps = np.zeros((*image.shape[:2], 2), np.uint8)
        for top, band in self._bands(image, *levels):
            maps[top : top + len(band)] = band
        return maps

    def _mask(self, image: NDArray[Any], levels: tuple[float, float]) -> NDArray[np.bool_]:
        mask = np.zeros(image.shape[:2], np.bool_)
        for top, band in self._bands(image, *levels):
            self._backend.mask(band, mask[top : top + len(band)])
        return mask

    def _bands(
        self, image: NDArray[Any], low: float, high: float
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Run the network on one row of tiles after another.

        Yields
        ------
        top : int
            First row of the image that the band covers.
        maps : ndarray, (h, W, 2) uint8

        Nothing is yielded for a constant image: there is nothing in it.
        """
        if high <= low:
            return
        height, width = image.shape[:2]
        plan = tiling.plan(height, width, self.tile, self.model.halo, self.model.stride)
        for band in plan.bands():
            picture = self._backend.normalize(image[slice(*band.rows)], low, high)
            top, bottom = band.kept
            maps = np.empty((bottom - top, width, 2), np.uint8)
            for first in range(0, len(band.sources), self.batch):
                some = slice(first, first + self.batch)
                tiles = self._backend.gather(
                    picture, band.sources[some], plan.rows.size, plan.columns.size
                )
                answers = self._backend.infer(tiles)
                self._backend.assemble(answers, band.targets[some], band.cores[some], maps)
            yield top, maps


_default: Segmenter | None = None
_default_lock = threading.Lock()


def segment(
    image: Image,
    output: Output = "mask",
    *,
    scale: Scale = "auto",
    mpp: float | None = None,
    diameter: float | None = None,
) -> NDArray[Any]:
    """Find the nuclei of one image with the shipped model.

    The first call loads and compiles the model; later ones reuse it. See `Segmenter.segment` for
    arguments, results and errors, and `Segmenter` for a choice of model, device and threads.

    Parameters
    ----------
    image : ndarray, str or Path
    output : {"mask", "labels", "maps"}
    scale : "auto" or float
    mpp, diameter : float, optional

    Returns
    -------
    ndarray
        (H, W) bool, (H, W) int32 or (H, W, 2) uint8.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = Segmenter()
    return _default.segment(image, output, scale=scale, mpp=mpp, diameter=diameter)


def _as_array(image: Image) -> NDArray[Any]:
    if isinstance(image, str | Path):
        from nucleiseg import images

        return next(images.open(image)).array
    return np.asarray(image)


def _shrunk(decoded: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    if decoded.dtype == np.bool_:
        return scaling.restored(decoded.view(np.uint8), shape, smooth=False).view(np.bool_)
    return scaling.renumbered(scaling.restored(decoded, shape, smooth=False))


def _check_output(output: str, accepted: tuple[str, ...]) -> None:
    if output not in accepted:
        raise ValueError(f"output: got {output!r}; accepted are {', '.join(map(repr, accepted))}")


def _checked_tile(tile: int, model: Model) -> int:
    smallest = 2 * model.halo + model.stride
    if tile < smallest or tile % model.stride:
        raise ValueError(
            f"tile: got {tile}; accepted are multiples of {model.stride} from {smallest} pixels up"
        )
    return tile


def _at_least_one(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name}: got {value}; accepted is 1 or more")
    return value
