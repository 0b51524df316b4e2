"""The driver: an image in, a mask or labels out, whatever the device."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nucleiseg import backends, magnified, memory, scaling, tiling
from nucleiseg.backends import Array, Backend, Levels, Steps
from nucleiseg.magnified import OwnSize
from nucleiseg.model import Model
from nucleiseg.scaling import Resized, Scale, Seen

if TYPE_CHECKING:
    from nucleiseg.analysis import Analysis

Image = Any
"""An array on the host or on a GPU, or the path of an image file."""

Output = Literal["mask", "labels", "maps"]

OUTPUTS: tuple[Output, ...] = ("mask", "labels", "maps")

WHOLE = 3072 * 3072
"""Pixels up to which the first look at an image takes in all of it: where nothing needs resizing
that look is the answer. Of larger images a few windows are looked at, under 5 % of the area."""

LOOKS = 3
"""Scales that "auto" tries before it takes the last."""

IN_FLIGHT = 4
"""Images that `Segmenter.map` works on at once: two in the network, on a thread each or one after
the other, one before it, one after."""


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
    device : {"auto", "cpu", "cuda"} or Backend
        Where to run. "auto" takes a GPU that can be used, else the CPU.
    threads : int, optional
        Processor threads; all that this process may use when left out.
    tile : int, optional
        Largest side of a tile in pixels; a multiple of the model's stride, above twice its halo.
        Smaller tiles take less memory and more time, and give the same. On a GPU its free memory
        decides when left out.
    batch : int, optional
        Tiles given to the network at once; likewise.

    Raises
    ------
    ModelError
        The model file is missing, damaged or not described.
    ValueError
        An argument out of its range, which the message names.
    RuntimeError
        ``device="cuda"`` where no GPU can be used; it says what is missing.
    """

    def __init__(
        self,
        model: Model | str | Path | None = None,
        *,
        device: str | Backend = "auto",
        threads: int | None = None,
        tile: int | None = None,
        batch: int | None = None,
    ) -> None:
        self.model = model if isinstance(model, Model) else Model.load(model)
        if tile is not None:
            _check_tile(tile, self.model)
        if batch is not None:
            _check_range("batch", batch, None)
        self._backend = backends.choose(device, self.model, threads)
        self.tile = self._backend.tile if tile is None else tile
        self.batch = self._backend.batch if batch is None else batch
        _check_range("tile", self.tile, self._backend.largest_tile)
        _check_range("batch", self.batch, self._backend.largest_batch)

    @property
    def backend_name(self) -> str:
        """The backend that was chosen: "cpu" or "cuda"."""
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
        to_host: bool = True,
    ) -> Array:
        """Find the nuclei of one image.

        Parameters
        ----------
        image : array, str or Path
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, of uint8, uint16, int16, float32
            or float64, from 1 x 1 up; or an image file. Intensities are stretched, so their
            scale does not matter; alpha is not used. On a GPU, also an array in its memory, with
            ``__dlpack__`` or ``__cuda_array_interface__`` (CuPy, PyTorch, pycuda): it is used
            where it is, and goes to the host only if it has to be resized.
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
        to_host : bool
            False leaves the result on the GPU, complete, as an array with ``__dlpack__`` and
            ``__cuda_array_interface__``.

        Returns
        -------
        ndarray or Buffer
            Always of the image's own size.
            "mask": (H, W) bool, True where nucleus.
            "labels": (H, W) int32, 0 background, 1..n in raster order of first pixels.
            "maps": (H, W, 2) uint8, nucleus probability and centre distance, 0..255 for 0..1.

        Raises
        ------
        TypeError
            The array's dtype is not one of those above, or it is on a GPU and this runs on the CPU.
        ValueError
            Empty, of another shape, with NaN or infinity, or a file that is no whole image; or a
            scale, mpp or diameter out of range, or more than one of them; or ``to_host=False`` on
            the CPU.
        FileNotFoundError
            There is no such file.
        """
        _check_output(output, OUTPUTS)
        wanted = scaling.requested(scale, mpp, diameter, self.model)
        return self._segment(image, (output,), wanted, to_host)[1][0]

    def segment_both(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        to_host: bool = True,
    ) -> tuple[Array, Array]:
        """Give mask and labels of one image in one go; see `segment`."""
        wanted = scaling.requested(scale, mpp, diameter, self.model)
        _, (mask, labels) = self._segment(image, ("mask", "labels"), wanted, to_host)
        return mask, labels

    def segment_all(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
    ) -> Everything:
        """Give mask, labels, maps and scale of one image in one go; see `segment`."""
        wanted = scaling.requested(scale, mpp, diameter, self.model)
        found, (mask, labels, maps) = self._segment(image, OUTPUTS, wanted, to_host=True)
        return Everything(mask, labels, maps, found)

    def analyze(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        ring: int = 5,
    ) -> Analysis:
        """Find the nuclei of one image, to be measured, outlined and saved.

        Parameters
        ----------
        image : array, str or Path
            As `segment` takes it.
        scale : "auto" or float
        mpp : float, optional
            Micrometres a pixel, instead of ``scale``. When left out, lengths are in micrometres too
            where the image's file says its pixel size.
        diameter : float, optional
        ring : int
            Pixels around a nucleus within which the background is measured, from 0 up.

        Returns
        -------
        Analysis
            With ``mask``, ``labels``, ``table``, ``outlines`` and ``save(path, formats)``.

        Raises
        ------
        TypeError, ValueError, FileNotFoundError
            As `segment` does; ValueError also for a ring that is no whole number of pixels.
        """
        from nucleiseg.analysis import analyze

        return analyze(self, image, ring, scale=scale, mpp=mpp, diameter=diameter)

    def pixels(self, image: Image) -> NDArray[Any]:
        """Give an image's pixels on the host, (H, W) or (H, W, C), wherever they are."""
        array = _read(image)
        if not isinstance(array, np.ndarray):
            with self._backend.session(to_host=True) as steps:
                array = steps.host(steps.array(array, "image"))[0].copy()
        pixels: NDArray[Any] = array
        return pixels

    def find_scale(self, image: Image) -> float:
        """Give the scale that ``scale="auto"`` takes for an image.

        Parameters
        ----------
        image : array, str or Path

        Returns
        -------
        float
            1 where the image is taken as it is, 2 where it is shrunk to half.
        """
        image = _read(image)
        with self._backend.session(to_host=True) as steps:
            return self._look(steps, steps.array(image, "image"))[1]

    __call__ = segment

    def map(
        self, images: Iterable[Image], output: Output = "mask", *, to_host: bool = True
    ) -> Iterator[Array]:
        """Find the nuclei of many images, in their order.

        Reading, the network and decoding of neighbouring images overlap, on a GPU the copies to
        and from it as well. At most `IN_FLIGHT` images are held at once, so ``images`` may be
        endless.

        Parameters
        ----------
        images : iterable
            Whatever `segment` takes. One on a GPU must not change before its result is there.
        output : {"mask", "labels", "maps"}
        to_host : bool
            As `segment` takes it.

        Yields
        ------
        ndarray or Buffer
            As `segment` gives it. An image that fails raises its error here, in its turn.
        """
        _check_output(output, OUTPUTS)
        return self._map(images, partial(self.segment, output=output, to_host=to_host))

    def _map(self, images: Iterable[Image], do: Callable[[Image], Array]) -> Iterator[Array]:
        with ThreadPoolExecutor(IN_FLIGHT, "nucleiseg") as pool:
            waiting: deque[Future[Array]] = deque()
            try:
                for image in images:
                    waiting.append(pool.submit(do, image))
                    if len(waiting) == IN_FLIGHT:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def decode(
        self, maps: Array, output: Output = "mask", *, scale: float = 1.0, to_host: bool = True
    ) -> Array:
        """Make a mask or labels of maps that `segment` gave, without the network.

        Parameters
        ----------
        maps : array, (H, W, 2) uint8
        output : {"mask", "labels"}
        scale : float
            That of the maps (see `find_scale`): above 1 the smallest nuclei that count are larger.
        to_host : bool
            As `segment` takes it.

        Returns
        -------
        ndarray or Buffer
            (H, W) bool or (H, W) int32.
        """
        _check_output(output, OUTPUTS[:2])
        with self._backend.session(to_host) as steps:
            maps = steps.array(maps, "maps")
            return steps.finish(None, (self._decode(steps, maps, output, scale),))[0]

    def _segment(
        self, image: Image, outputs: tuple[Output, ...], wanted: float | None, to_host: bool
    ) -> tuple[float, tuple[Array, ...]]:
        """Give the scale and the outputs."""
        image = _read(image)  # before the session, which holds threads or a GPU's memory
        with self._backend.session(to_host) as steps:
            array = steps.array(image, "image")
            if wanted == 1:
                if isinstance(array, np.ndarray):
                    memory.check(array.shape, outputs, wanted)
                work = partial(self._everything, steps, outputs)
                return 1.0, steps.finish(*steps.repeat(self._key(*outputs), array, work))
            if wanted is None:
                levels, scale, maps = self._look(steps, array)
            else:
                levels, scale, maps = steps.percentiles(array), wanted, None
            results = self._at_scale(steps, array, levels, scale, maps, outputs)
            return scale, steps.finish(levels, results)

    def _key(self, *what: str) -> tuple[Any, ...]:
        """Name work that is the same for all images of one shape."""
        return (*what, self.tile, self.batch)

    def _everything(
        self, steps: Steps, outputs: tuple[Output, ...], image: Array
    ) -> tuple[Levels, tuple[Array, ...]]:
        """Do all there is to do for an image that is taken as it is."""
        levels = steps.percentiles(image)
        return levels, self._as_it_is(steps, image, levels, outputs)

    def _as_it_is(
        self, steps: Steps, image: Array, levels: Levels, outputs: tuple[Output, ...]
    ) -> tuple[Array, ...]:
        if outputs == ("mask",):
            return (self._mask(steps, levels, image),)
        return self._outputs(steps, outputs, self._maps(steps, levels, image))

    def _outputs(self, steps: Steps, outputs: tuple[Output, ...], maps: Array) -> tuple[Array, ...]:
        return tuple(self._decode(steps, maps, output) for output in outputs)

    def _at_scale(
        self,
        steps: Steps,
        image: Array,
        levels: Levels,
        scale: float,
        maps: Array | None,
        outputs: tuple[Output, ...],
    ) -> tuple[Array, ...]:
        """Make the outputs at the image's own size, with maps at that scale if there are some."""
        if scale != 1 or isinstance(image, np.ndarray):
            memory.check(image.shape, outputs, scale)
        if scale == 1 and maps is None:
            return self._as_it_is(steps, image, levels, outputs)
        if scale == 1:
            work = partial(self._outputs, steps, outputs)
            results: tuple[Array, ...] = steps.repeat(self._key("decode", *outputs), maps, work)
            return results
        if scale < 1:
            return self._magnified(steps, image, levels, scale, maps, outputs)
        if maps is None:
            maps = self._maps_at(steps, levels, steps.host(image)[0], scale)
        if maps.shape[:2] != image.shape[:2]:
            # The host resizes, on a GPU too: OpenCV's rules are part of the answer.
            maps = scaling.restored(steps.host(maps)[0], image.shape[:2], smooth=True)
        return tuple(self._decode(steps, maps, output, scale) for output in outputs)

    def _magnified(
        self,
        steps: Steps,
        image: Array,
        levels: Levels,
        scale: float,
        maps: Array | None,
        outputs: tuple[Output, ...],
    ) -> tuple[Array, ...]:
        """Make the outputs of an image that the network sees magnified, on the host."""
        shape, seen = image.shape[:2], scaling.size(image.shape, scale)
        own = OwnSize(outputs, shape, seen, self.model, self.threads)
        if maps is None and (seen[0] * seen[1] <= WHOLE or steps.is_blank(levels)):
            maps = self._maps_at(steps, levels, steps.host(image)[0], scale)
        if maps is not None:
            own.add(steps.host(maps)[0])
            return own.results()
        picture = Resized(steps.host(image)[0], scale, self.threads)
        for band in self._plan(picture, magnified.band_rows(shape, seen)).bands:
            self._add_band(steps, levels, picture, band, own)
        return own.results()

    def _add_band(
        self, steps: Steps, levels: Levels, image: Resized, band: tiling.Band, own: OwnSize
    ) -> None:
        maps = steps.empty("maps", (band.kept[1] - band.kept[0], image.shape[1], 2), np.uint8)
        self._fill(steps, levels, image, band, maps)
        own.add(steps.host(maps)[0])

    def _decode(self, steps: Steps, maps: Array, output: Output, scale: float = 1.0) -> Array:
        if output == "maps":
            return maps
        if output == "labels":
            return steps.label(maps, scale)
        mask = steps.empty("mask", maps.shape[:2], np.bool_)
        steps.mask(maps, mask)
        return mask

    def _look(self, steps: Steps, image: Array) -> tuple[Levels, float, Array | None]:
        """Find the scale; with the whole image's maps at that scale if they were looked at."""
        whole, scale, maps = image.shape[0] * image.shape[1] <= WHOLE, 1.0, None
        if whole:
            levels, maps = steps.repeat(self._key("look"), image, partial(self._first_look, steps))
        else:
            levels = steps.percentiles(image)
        low, high = steps.known(levels)
        if high <= low:
            return levels, scale, maps
        for look in range(LOOKS):
            if whole and look:
                maps = self._maps_at(steps, levels, steps.host(image)[0], scale)
            seen = (
                self._seen_in_windows(steps, maps)
                if whole
                else self._seen_in_parts(steps, levels, image, scale)
            )
            better = scaling.better(scale, seen, self.model)
            if better >= scale and seen.is_doubtful:
                elsewhere = {
                    other: self._seen_in_parts(steps, levels, image, other)
                    for other in scaling.others(scale)
                }
                surest = scaling.surest(scale, seen, elsewhere, self.model)
                if surest != scale:
                    return levels, surest, None
                maps = None  # on a GPU the other looks have taken its memory
            if better == scale:
                return levels, scale, maps
            scale = better
        return levels, scale, None

    def _first_look(self, steps: Steps, image: Array) -> tuple[Levels, Array]:
        levels = steps.percentiles(image)
        return levels, self._maps(steps, levels, image)

    def _seen_in_windows(self, steps: Steps, maps: Array) -> Seen:
        windows = scaling.windows(steps.host(maps)[0][..., 0])
        return self._seen(steps, (maps[window] for window in windows))

    def _seen_in_parts(self, steps: Steps, levels: Levels, image: Array, scale: float) -> Seen:
        parts = scaling.parts(steps.host(image)[0], scale)
        return self._seen(steps, (self._maps_at(steps, levels, part, scale) for part in parts))

    def _seen(self, steps: Steps, several: Iterable[Array]) -> Seen:
        """Label small ones too, and then only those that are whole and no noise."""
        small, sure, pixels = [], [], 0
        for number, maps in enumerate(several):
            small.append(steps.label(maps, scaling.SPECKS, f"seen {number}", look="small"))
            sure.append(steps.label(maps, scaling.SPECKS, f"seen whole {number}", look="sure"))
            pixels += maps.shape[0] * maps.shape[1]
        labels = steps.host(*small, *sure)
        middle = len(small)
        return Seen(scaling.diameters(labels[:middle]), scaling.diameters(labels[middle:]), pixels)

    def _maps_at(self, steps: Steps, levels: Levels, image: NDArray[Any], scale: float) -> Array:
        picture = Resized(image, scale, self.threads)
        if picture.shape[0] * picture.shape[1] > WHOLE:
            return self._maps(steps, levels, picture)
        seen = image if scale == 1 else picture[:, :]
        return steps.repeat(self._key("maps"), seen, partial(self._maps, steps, levels))

    def _maps(self, steps: Steps, levels: Levels, image: Array | Resized) -> Array:
        shape = (*image.shape[:2], 2)
        if steps.is_blank(levels):
            return steps.zeros("maps", shape, np.uint8)
        maps = steps.empty("maps", shape, np.uint8)
        for band in self._plan(image).bands:
            self._fill(steps, levels, image, band, maps[slice(*band.kept)])
        return maps

    def _mask(self, steps: Steps, levels: Levels, image: Array) -> Array:
        """Make the mask without maps of the whole image."""
        shape = image.shape[:2]
        if steps.is_blank(levels):
            return steps.zeros("mask", shape, np.bool_)
        mask = steps.empty("mask", shape, np.bool_)
        for band in self._plan(image).bands:
            top, bottom = band.kept
            maps = steps.empty("band", (bottom - top, shape[1], 2), np.uint8)
            self._fill(steps, levels, image, band, maps)
            steps.mask(maps, mask[top:bottom])
        return mask

    def _plan(self, image: Array | Resized, rows: int | None = None) -> tiling.Plan:
        """Return the tiles of an image, none higher than so many rows."""
        height, width = image.shape[:2]
        stride = self.model.stride
        tall = self.tile if rows is None else min(self.tile, rows // stride * stride)
        return tiling.plan(height, width, self.tile, self.model.halo, stride, tall)

    def _fill(
        self, steps: Steps, levels: Levels, image: Array | Resized, band: tiling.Band, maps: Array
    ) -> None:
        """Run the network on one row of tiles and write what they keep of their maps."""
        for first in range(0, len(band.sources), self.batch):
            some = slice(first, first + self.batch)
            # Only what these tiles see is resized and stretched at once, to save memory.
            columns, sources = tiling.seen(band.sources[some], band.size[1], image.shape[1])
            picture = steps.normalize(image[slice(*band.rows), columns], levels)
            tiles = steps.gather(picture, sources, *band.size)
            cells = steps.infer(tiles)
            steps.assemble(cells, band.targets[some], band.cores[some], maps)


_default: Segmenter | None = None
_default_lock = threading.Lock()


def segment(
    image: Image,
    output: Output = "mask",
    *,
    scale: Scale = "auto",
    mpp: float | None = None,
    diameter: float | None = None,
    to_host: bool = True,
) -> Array:
    """Find the nuclei of one image with the shipped model.

    The first call loads and compiles the model; later ones reuse it. See `Segmenter.segment` for
    arguments, results and errors, and `Segmenter` for a choice of model, device and threads.

    Parameters
    ----------
    image : array, str or Path
    output : {"mask", "labels", "maps"}
    scale : "auto" or float
    mpp, diameter : float, optional
    to_host : bool

    Returns
    -------
    ndarray or Buffer
        (H, W) bool, (H, W) int32 or (H, W, 2) uint8.
    """
    global _default
    with _default_lock:
        if _default is None:
            _default = Segmenter()
    return _default.segment(image, output, scale=scale, mpp=mpp, diameter=diameter, to_host=to_host)


def _read(image: Image) -> Any:
    if isinstance(image, str | Path):
        from nucleiseg import images

        return next(images.open(image)).array
    return image


def _check_output(output: str, accepted: tuple[str, ...]) -> None:
    if output not in accepted:
        raise ValueError(f"output: got {output!r}; accepted are {', '.join(map(repr, accepted))}")


def _check_tile(tile: int, model: Model) -> None:
    smallest = 2 * model.halo + model.stride
    if tile < smallest or tile % model.stride:
        raise ValueError(
            f"tile: got {tile}; accepted are multiples of {model.stride} from {smallest} pixels up"
        )


def _check_range(name: str, value: int, largest: int | None) -> None:
    if value < 1 or (largest is not None and value > largest):
        limit = "or more" if largest is None else f"to {largest}, which the engine was built for"
        raise ValueError(f"{name}: got {value}; accepted is 1 {limit}")
