"""What is used from Python: an image in, a mask or labels out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from nucleiseg import backends, resizing
from nucleiseg.backends import Array, Backend
from nucleiseg.driver import OUTPUTS, Driver, Output
from nucleiseg.limits import Limits
from nucleiseg.model import DEFAULT, Model, ModelError
from nucleiseg.resizing import Scale, Size

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nucleiseg.analysis import Analysis

Image = Any
"""An array on the host or on a GPU, or the path of an image file."""

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
Maps = NDArray[np.uint8]

_Result = TypeVar("_Result")
_Home = Literal[True]

IN_FLIGHT = 4
"""Images that `Segmenter.map` works on at once: two in the network, on a thread each or one after
the other, one before it, one after."""


class Everything(NamedTuple):
    """All that `Segmenter.segment_all` finds of one image.

    Attributes
    ----------
    mask : ndarray, (H, W) bool
    labels : ndarray, (H, W) int32
    maps : ndarray, (H, W, 2) uint8, or None
        None where they were not asked for.
    scale : float
        How far the network saw the image shrunk.
    limits : Limits
        The intensities that became 0 and 255, and whether they are doubtful.
    """

    mask: Mask
    labels: Labels
    maps: Maps | None
    scale: float
    limits: Limits


class Segmenter(Driver):
    """Find nuclei, with a model that is loaded and compiled once.

    It may be called from several threads at once. Pickled, as for other processes, it keeps its
    settings and loads its model again.

    Parameters
    ----------
    model : Model, str or Path
        The name of a shipped model, an ONNX file, or a model that is loaded: see `Model.load`.
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
        No model of that name is shipped, or the file is missing, damaged or not described.
    ValueError
        An argument out of its range, which the message names.
    RuntimeError
        ``device="cuda"`` where no GPU can be used; it says what is missing.
    """

    def __init__(
        self,
        model: Model | str | Path = DEFAULT,
        *,
        device: str | Backend = "auto",
        threads: int | None = None,
        tile: int | None = None,
        batch: int | None = None,
    ) -> None:
        model = model if isinstance(model, Model) else Model.load(model)
        self._settings = {"device": device, "threads": threads, "tile": tile, "batch": batch}
        if tile is not None:
            _check_tile(tile, model)
        if batch is not None and batch < 1:
            raise ValueError(f"batch: got {batch}; accepted is 1 or more")
        backend = backends.choose(device, model, threads, tile, batch)
        super().__init__(
            model,
            backend,
            backend.tile if tile is None else tile,
            backend.batch if batch is None else batch,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings and where the model is; elsewhere the model is loaded again."""
        if not isinstance(self._settings["device"], str):
            raise TypeError("device: a Segmenter with a Backend of its own cannot be pickled")
        return _load, (self.model.path.absolute(), self.model.checksum, self._settings)

    @property
    def backend_name(self) -> str:
        """The backend that was chosen: "cpu" or "cuda"."""
        return self._backend.name

    def times(self) -> dict[str, float] | None:
        """Return the time spent on each part of all calls so far.

        Returns
        -------
        dict or None
            Seconds of ``prepare`` (limits, normalise, tiles), ``infer``, ``assemble`` and
            ``decode``, and ``pixels``, how many the network was given, halos and padding included.
            None on a GPU, whose steps overlap.
        """
        return self._pipeline.times()

    @overload
    def segment(
        self,
        image: Image,
        output: Literal["mask"] = ...,
        *,
        to_host: _Home = ...,
        **size: Unpack[Size],
    ) -> Mask: ...
    @overload
    def segment(
        self, image: Image, output: Literal["labels"], *, to_host: _Home = ..., **size: Unpack[Size]
    ) -> Labels: ...
    @overload
    def segment(
        self, image: Image, output: Literal["maps"], *, to_host: _Home = ..., **size: Unpack[Size]
    ) -> Maps: ...
    @overload
    def segment(
        self, image: Image, output: Output = ..., *, to_host: bool = ..., **size: Unpack[Size]
    ) -> Array: ...
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
            How many times larger nuclei are in pixels than the model is best at: the network sees
            the image shrunk by this factor. 1 takes the image as it is; "auto" measures nuclei, and
            resizes only where they are outside of the range that the model is good at.
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
            "mask": (H, W) bool, True where the probability of a nucleus reaches the model's
            threshold.
            "labels": (H, W) int32, 0 background, 1..n in raster order of first pixels. A label is
            one piece, by 8 neighbours, and lies within the mask. The mask also has what is too
            small or too faint to be counted: ``labels > 0`` is the mask without it.
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
        MemoryError
            The outputs of so large an image do not fit into the memory that is free.
        """
        _check_output(output, OUTPUTS)
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        return self._run(_read(image), (output,), wanted, to_host).outputs[0]

    @overload
    def segment_both(
        self, image: Image, *, to_host: _Home = ..., **size: Unpack[Size]
    ) -> tuple[Mask, Labels]: ...
    @overload
    def segment_both(
        self, image: Image, *, to_host: bool = ..., **size: Unpack[Size]
    ) -> tuple[Array, Array]: ...
    def segment_both(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        to_host: bool = True,
    ) -> tuple[Array, Array]:
        """Return the mask and the labels of one image; see `segment`."""
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        mask, labels = self._run(_read(image), ("mask", "labels"), wanted, to_host).outputs
        return mask, labels

    def segment_all(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        with_maps: bool = True,
    ) -> Everything:
        """Return all that there is to know of one image in one go; see `segment`.

        Maps take time and memory on the way from a GPU and where the image is resized.
        """
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        outputs = OUTPUTS if with_maps else OUTPUTS[:2]
        found = self._run(_read(image), outputs, wanted, to_host=True)
        mask, labels, maps = (*found.outputs, None)[: len(OUTPUTS)]
        return Everything(mask, labels, maps, found.scale, found.limits)

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
        """Return an image's pixels on the host, (H, W) or (H, W, C), wherever they are."""
        return self._pipeline.host(self._pipeline.image(_read(image)))

    def find_scale(self, image: Image) -> float:
        """Return the scale that ``scale="auto"`` takes for an image.

        Parameters
        ----------
        image : array, str or Path

        Returns
        -------
        float
            1 where the image is taken as it is, 2 where it is shrunk to half.
        """
        return self._find_scale(self._pipeline.image(_read(image)))[0]

    __call__ = segment

    @overload
    def map(
        self,
        images: Iterable[Image],
        output: Literal["mask"] = ...,
        *,
        to_host: _Home = ...,
        **size: Unpack[Size],
    ) -> Iterator[Mask]: ...
    @overload
    def map(
        self,
        images: Iterable[Image],
        output: Literal["labels"],
        *,
        to_host: _Home = ...,
        **size: Unpack[Size],
    ) -> Iterator[Labels]: ...
    @overload
    def map(
        self,
        images: Iterable[Image],
        output: Literal["maps"],
        *,
        to_host: _Home = ...,
        **size: Unpack[Size],
    ) -> Iterator[Maps]: ...
    @overload
    def map(
        self,
        images: Iterable[Image],
        output: Output = ...,
        *,
        to_host: bool = ...,
        **size: Unpack[Size],
    ) -> Iterator[Array]: ...
    def map(
        self,
        images: Iterable[Image],
        output: Output = "mask",
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        to_host: bool = True,
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
        scale : "auto" or float
        mpp, diameter : float, optional
        to_host : bool
            As `segment` takes them; they hold for every image.

        Yields
        ------
        ndarray or Buffer
            As `segment` gives it. An image that fails raises its error here, in its turn.
        """
        _check_output(output, OUTPUTS)
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        return self._map(
            images, lambda image: self._run(_read(image), (output,), wanted, to_host).outputs[0]
        )

    def _map(self, images: Iterable[Image], do: Callable[[Image], _Result]) -> Iterator[_Result]:
        with ThreadPoolExecutor(IN_FLIGHT, "nucleiseg") as pool:
            waiting: deque[Future[_Result]] = deque()
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

    @overload
    def decode(
        self,
        maps: Array,
        output: Literal["mask"] = ...,
        *,
        scale: float = ...,
        to_host: _Home = ...,
    ) -> Mask: ...
    @overload
    def decode(
        self, maps: Array, output: Literal["labels"], *, scale: float = ..., to_host: _Home = ...
    ) -> Labels: ...
    @overload
    def decode(
        self, maps: Array, output: Output = ..., *, scale: float = ..., to_host: bool = ...
    ) -> Array: ...
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
        self._pipeline.check_place(to_host)
        return self._pipeline.decode(maps, (output,), scale, None, to_host)[0]


def _load(path: Path, checksum: str, settings: dict[str, Any]) -> Segmenter:
    model = Model.load(path)
    if model.checksum != checksum:
        raise ModelError(f"model: {path} is not the file of the Segmenter that was pickled")
    return Segmenter(model, **settings)


_default: Segmenter | None = None
_default_lock = threading.Lock()


@overload
def segment(
    image: Image, output: Literal["mask"] = ..., *, to_host: _Home = ..., **size: Unpack[Size]
) -> Mask: ...
@overload
def segment(
    image: Image, output: Literal["labels"], *, to_host: _Home = ..., **size: Unpack[Size]
) -> Labels: ...
@overload
def segment(
    image: Image, output: Literal["maps"], *, to_host: _Home = ..., **size: Unpack[Size]
) -> Maps: ...
@overload
def segment(
    image: Image, output: Output = ..., *, to_host: bool = ..., **size: Unpack[Size]
) -> Array: ...
def segment(
    image: Image,
    output: Output = "mask",
    *,
    scale: Scale = "auto",
    mpp: float | None = None,
    diameter: float | None = None,
    to_host: bool = True,
) -> Array:
    """Find the nuclei of one image with the default model.

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
