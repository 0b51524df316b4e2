"""The Python interface: an image in, a mask or labels out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from nucleiseg import backends, pool, resizing, stains
from nucleiseg.backends import Array, Backend
from nucleiseg.driver import OUTPUTS, Driver, Output, check_output, read
from nucleiseg.model import DEFAULT, Model, ModelError
from nucleiseg.parameters import Decoding
from nucleiseg.resizing import Scale
from nucleiseg.stains import Stain

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nucleiseg.parameters import DecodeOptions, HostOptions, Options, Parameters
    from nucleiseg.result import Result

Image = Any
"""An array on the host or on a GPU, or the path of an image file."""

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
Maps = NDArray[np.uint8]

IN_FLIGHT = 4
"""Images that `Segmenter.map` works on at once: two in the network, on a thread each or one after
the other, one before it, one after."""


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

    @property
    def arithmetic(self) -> str:
        """What decides the bits of an answer: "exact", the same on every device, or an engine."""
        engine: str = getattr(getattr(self._backend, "engine", None), "name", "")
        return engine if engine.startswith("TensorRT") else "exact"

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
        self, image: Image, output: Literal["mask"] = ..., **options: Unpack[HostOptions]
    ) -> Mask: ...
    @overload
    def segment(
        self, image: Image, output: Literal["labels"], **options: Unpack[HostOptions]
    ) -> Labels: ...
    @overload
    def segment(
        self, image: Image, output: Literal["maps"], **options: Unpack[HostOptions]
    ) -> Maps: ...
    @overload
    def segment(
        self, image: Image, output: Output = ..., *, to_host: bool = ..., **options: Unpack[Options]
    ) -> Array: ...
    def segment(
        self,
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
        """Return a mask, labels or maps of one image.

        Parameters
        ----------
        image : array, str or Path
            (H, W), (H, W, 1), (H, W, 3) RGB or (H, W, 4) RGBA, of uint8, uint16, int16, float32
            or float64, from 1 x 1 up; or an image file. Intensities are stretched, so their
            scale does not matter; alpha is ignored. On a GPU, also an array in its memory, with
            ``__dlpack__`` or ``__cuda_array_interface__`` (CuPy, PyTorch, pycuda): it is used
            where it is, and goes to the host only if it has to be resized.
        output : {"mask", "labels", "maps"}
        scale : "auto" or float
            The factor by which the network sees the image shrunk. 1 takes it as it is; "auto"
            resizes only if nuclei are outside of the range that the model is good at.
        mpp : float, optional
            Micrometres per pixel, instead of ``scale``.
        diameter : float, optional
            Usual diameter of a nucleus in pixels, instead of ``scale``.
        stain : {"auto", "he", "dab", "hematoxylin"}
            Of RGB images. "he": colours are taken as they are. For immunohistochemistry (DAB)
            "dab" shows brown nuclei to the model in blue, which it knows, and "hematoxylin" shows
            it that stain alone, where membranes or cytoplasm are brown (8-bit images). "auto": "he"
            or "dab", by the image's colours; "he" for an image on a GPU.
        to_host : bool
            False leaves the result on the GPU, complete, as an array with ``__dlpack__`` and
            ``__cuda_array_interface__``. Not together with a choice of nuclei (below).
        **parameters
            What counts as a nucleus, where the model's own decoding does not fit; the scale that
            "auto" finds does not depend on them.
            ``nucleus_threshold``: probability, 0 to 1, from which a pixel is nucleus; lower gives
            larger nuclei, and paler ones.
            ``separation``: how far, 0 to 1, the map of distances must fall between two maxima for
            them to be two nuclei; lower splits more, higher merges more. Left out, the model
            decides, by sizes and shapes too.
            ``min_area``: fewest pixels (of the image) of a nucleus, instead of the model's, which
            are those of its own scale.
            ``min_diameter``, ``max_diameter``: pixels of the image; of the circle of the same area.
            ``exclude_border=True``: without the nuclei that touch the image's border.

        Returns
        -------
        ndarray or Buffer
            Always of the image's own size.
            "mask": (H, W) bool, True where the probability of a nucleus reaches the model's
            threshold.
            "labels": (H, W) int32, 0 background, 1..n in raster order of first pixels. A label is
            one 8-connected piece within the mask. Pieces of the mask that are too small or too
            faint to be counted have no label: ``labels > 0`` is the mask without them. As soon as
            nuclei are chosen by ``min_area``, a diameter or the border, the ids of those that are
            left are 1..n again, and the mask is ``labels > 0``.
            "maps": (H, W, 2) uint8, nucleus probability and centre distance, 0..255 for 0..1.

        Raises
        ------
        TypeError
            The array's dtype is not one of those above, or it is on a GPU and this runs on the CPU.
        ValueError
            Empty, of another shape, with NaN or infinity, or a file that is no whole image; or a
            scale, mpp or diameter out of range, or more than one of them; or one of the parameters
            out of range; or ``to_host=False`` on the CPU or with a choice of nuclei.
        FileNotFoundError
            There is no such file.
        MemoryError
            The outputs of so large an image do not fit into the memory that is free.
        """
        check_output(output, OUTPUTS)
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        decoding = Decoding(**parameters) if parameters else None
        image = read(image)
        return self._run(image, (output,), wanted, to_host, decoding, stain).outputs[0]

    def analyze(
        self,
        image: Image,
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        stain: Stain = "auto",
        ring: int = 5,
        maps: bool = True,
        smooth: bool = False,
        **parameters: Unpack[Parameters],
    ) -> Result:
        """Return all that is found in one image: see `nucleiseg.result.Result`.

        Parameters
        ----------
        image, scale, diameter, stain
            As `segment` takes them. Whatever the stain, the result has the image's own colours.
        mpp : float, optional
            Micrometres per pixel, instead of ``scale``. When left out, the pixel size that the
            image's file gives is used for measurements in micrometres, not for the scale.
        ring : int
            Pixels around a nucleus within which the background is measured, from 0 up.
        maps : bool
            False leaves out ``result.maps`` and the column of probabilities, which take time and
            memory on the way from a GPU and where the image is resized.
        smooth : bool
            Smooth ``result.outlines``, and so GeoJSON, ImageJ's ROIs and COCO's polygons; the mask,
            the labels and the table stay as they are.
        **parameters
            As `segment` takes them.

        Raises
        ------
        TypeError, ValueError, FileNotFoundError, MemoryError
            As `segment` does; ValueError also for a ring that is not a whole number of pixels.
        """
        from nucleiseg import images
        from nucleiseg.result import Result

        if isinstance(ring, bool) or not isinstance(ring, int | np.integer) or ring < 0:
            raise ValueError(f"ring: got {ring!r}; accepted are whole numbers of pixels from 0 up")
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        name = ""
        if isinstance(image, str | Path):
            name, plane = Path(image).name, next(images.open(image))
            image, mpp = plane.array, mpp or plane.mpp
        decoding = Decoding(**parameters) if parameters else None
        found = self._run(image, OUTPUTS if maps else OUTPUTS[:2], wanted, True, decoding, stain)
        mask, labels, kept = (*found.outputs, None)[: len(OUTPUTS)]
        return Result(
            image=self._pipeline.host(self._pipeline.image(image)),
            mask=mask,
            labels=labels,
            maps=kept,
            scale=found.scale,
            mpp=mpp,
            limits=found.limits,
            name=name,
            ring=int(ring),
            smooth=bool(smooth),
            threads=self.threads,
        )

    def find_scale(self, image: Image) -> float:
        """Return the scale that ``scale="auto"`` takes for an image: 2 shrinks it to half."""
        image = self._pipeline.image(read(image))
        if isinstance(image, np.ndarray):
            image = stains.shown(image, "auto")
        return self._find_scale(image)[0]

    __call__ = segment

    @overload
    def map(
        self, images: Iterable[Image], output: Literal["mask"] = ..., **options: Unpack[HostOptions]
    ) -> Iterator[Mask]: ...
    @overload
    def map(
        self, images: Iterable[Image], output: Literal["labels"], **options: Unpack[HostOptions]
    ) -> Iterator[Labels]: ...
    @overload
    def map(
        self, images: Iterable[Image], output: Literal["maps"], **options: Unpack[HostOptions]
    ) -> Iterator[Maps]: ...
    @overload
    def map(
        self,
        images: Iterable[Image],
        output: Output = ...,
        *,
        to_host: bool = ...,
        **options: Unpack[Options],
    ) -> Iterator[Array]: ...
    def map(
        self,
        images: Iterable[Image],
        output: Output = "mask",
        *,
        scale: Scale = "auto",
        mpp: float | None = None,
        diameter: float | None = None,
        stain: Stain = "auto",
        to_host: bool = True,
        **parameters: Unpack[Parameters],
    ) -> Iterator[Array]:
        """Yield a mask, labels or maps of many images, in their order.

        Reading, the network and decoding of neighbouring images overlap, on a GPU the copies to
        and from it as well. At most `IN_FLIGHT` images are held at once, so ``images`` may be
        endless.

        Parameters
        ----------
        images : iterable
            Whatever `segment` takes. One on a GPU must not change before its result is there.
        output, scale, mpp, diameter, stain, to_host, **parameters
            As `segment` takes them, for every image.

        Yields
        ------
        ndarray or Buffer
            As `segment` gives it. An image that fails raises its error here, in its turn.
        """
        check_output(output, OUTPUTS)
        stains.check(stain)
        wanted = resizing.requested(scale, mpp, diameter, self.model)
        decoding = Decoding(**parameters) if parameters else None
        return pool.each(
            lambda image: self._run(
                read(image), (output,), wanted, to_host, decoding, stain
            ).outputs[0],
            images,
            IN_FLIGHT,
        )

    @overload
    def decode(
        self, maps: Array, output: Literal["mask"] = ..., **options: Unpack[DecodeOptions]
    ) -> Mask: ...
    @overload
    def decode(
        self, maps: Array, output: Literal["labels"], **options: Unpack[DecodeOptions]
    ) -> Labels: ...
    @overload
    def decode(
        self,
        maps: Array,
        output: Output = ...,
        *,
        scale: float = ...,
        to_host: bool = ...,
        **parameters: Unpack[Parameters],
    ) -> Array: ...
    def decode(
        self,
        maps: Array,
        output: Output = "mask",
        *,
        scale: float = 1.0,
        to_host: bool = True,
        **parameters: Unpack[Parameters],
    ) -> Array:
        """Return the mask or labels of maps that `segment` returned, without the network.

        So parameters can be tried quickly, one after the other.

        Parameters
        ----------
        maps : array, (H, W, 2) uint8
        output : {"mask", "labels"}
        scale : float
            That of the maps (see `find_scale`): above 1 the smallest nuclei that count are larger.
        to_host, **parameters
            As `segment` takes them, and returns the same.
        """
        check_output(output, OUTPUTS[:2])
        decoding = Decoding(**parameters) if parameters else None
        self._pipeline.check_place(to_host)
        if not decoding:
            return self._pipeline.decode(maps, (output,), scale, None, to_host)[0]
        needed = decoding.needed((output,))
        found = self._decoder(decoding, to_host).decode(maps, needed, scale, None, to_host)
        return decoding.select((output,), needed, found)[0]


def _load(path: Path, checksum: str, settings: dict[str, Any]) -> Segmenter:
    model = Model.load(path)
    if model.checksum != checksum:
        raise ModelError(f"model: {path} is not the file of the Segmenter that was pickled")
    return Segmenter(model, **settings)


def _check_tile(tile: int, model: Model) -> None:
    smallest = 2 * model.halo + model.stride
    if tile < smallest or tile % model.stride:
        raise ValueError(
            f"tile: got {tile}; accepted are multiples of {model.stride} from {smallest} pixels up"
        )
