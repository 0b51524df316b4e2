"""Slides of every kind give their pixels exactly, and broken ones one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import aperio
import cv2
import imagecodecs
import numpy as np
import pytest
import scanners
import tifffile
import typer
import zarr
from typer.testing import CliRunner

from nucleiseg import slides
from nucleiseg.slides import openslide_reader, tiff_reader
from nucleiseg.slides.command import slide as slide_command


@pytest.fixture(scope="module")
def pixels(tiles: np.ndarray) -> np.ndarray:
    return np.concatenate([np.concatenate(tiles[i : i + 2], 1) for i in (0, 2)])[:1000, :900]


def check(
    path: Path, expected: np.ndarray, mpp: float | None, levels: int = 1, **channel: int
) -> None:
    """Read rectangles of every level and compare them with the pixels."""
    with slides.open(path, **channel) as slide:
        assert len(slide.levels) == levels
        assert slide.mpp == (pytest.approx(mpp, rel=1e-3) if mpp else None)
        for level, (height, width) in enumerate(slide.levels):
            whole = expected[:: 2**level, :: 2**level]
            assert (height, width) == whole.shape[:2]
            np.testing.assert_array_equal(slide.read(level, 0, 0, height, width), whole)
            part = slide.read(level, height // 3, 17, height // 2, width - 40)
            np.testing.assert_array_equal(
                part, whole[height // 3 : height // 3 + height // 2, 17 : width - 23]
            )


def write_pyramid(path: Path, pixels: np.ndarray, **options: object) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subifds=2, tile=(256, 256), **options)
        for level in (1, 2):
            options.pop("metadata", None)
            step = 2**level
            small = pixels[..., ::step, ::step] if pixels.shape[0] < 9 else pixels[::step, ::step]
            file.write(small, subfiletype=1, tile=(256, 256), **options)


def test_ome_tiff(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    write_pyramid(
        path, pixels, photometric="rgb", metadata={"axes": "YXS", **size}, compression="deflate"
    )
    check(path, pixels, 0.25, levels=3)


def test_a_channel_of_fluorescence_in_ome_tiff(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    planes = np.ascontiguousarray(np.moveaxis(pixels[..., :2], 2, 0)).astype(np.uint16) * 200
    size = {
        "PhysicalSizeX": 325,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 325,
        "PhysicalSizeYUnit": "nm",
    }
    write_pyramid(path, planes, photometric="minisblack", metadata={"axes": "CYX", **size})
    check(path, planes[1], 0.325, levels=3, channel=1)
    with pytest.raises(
        ValueError, match="has 2 channels; choose the one with the nuclei: --channel N"
    ):
        slides.open(path)
    with pytest.raises(ValueError, match="has 2 channels, from 0; got 2"):
        slides.open(path, channel=2)


@pytest.mark.parametrize("compression", ["jpeg2000", "lzw", "webp"])
def test_generic_tiled_tiff(pixels: np.ndarray, compression: str, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    options = {"compressionargs": {"level": 100, "lossless": True}} if compression == "webp" else {}
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        compression=compression,
        resolution=(20_000, 20_000),
        resolutionunit="CENTIMETER",
        metadata=None,
        **options,
    )
    check(path, pixels, 0.5)


def test_a_resolution_for_printers_is_no_pixel_size(pixels: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        resolution=(300, 300),
        resolutionunit="INCH",
    )
    check(path, pixels, None)


def test_ome_zarr(pixels: np.ndarray, tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "slide.zarr", mode="w", zarr_format=2)
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": one, "type": "space", "unit": "micrometer"} for one in "yx"]
    datasets = []
    for level in range(3):
        small = np.moveaxis(pixels[:: 2**level, :: 2**level], 2, 0)
        root.create_array(str(level), data=np.ascontiguousarray(small), chunks=(1, 256, 256))
        scale = {"type": "scale", "scale": [1, 0.25 * 2**level, 0.25 * 2**level]}
        datasets.append({"path": str(level), "coordinateTransformations": [scale]})
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    check(tmp_path / "slide.zarr", pixels, 0.25, levels=3)
    check(tmp_path / "slide.zarr", pixels[..., 1], 0.25, levels=3, channel=1)


def test_aperio_and_a_plain_image(svs: Path, pixels: np.ndarray, tmp_path: Path) -> None:
    with slides.open(svs) as slide:
        assert isinstance(slide, tiff_reader.TiffSlide)
        assert slide.levels == [(2700, 3300), (169, 207)]
        assert slide.mpp == 0.25
        by_openslide = openslide_reader.OpenSlideSlide(svs, "aperio")
        for level, (height, width) in enumerate(slide.levels):
            here = (level, height // 5, width // 7, height // 3, width // 2)
            np.testing.assert_array_equal(slide.read(*here), by_openslide.read(*here))
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), pixels[..., ::-1])
    check(path, pixels, None)
    large = np.concatenate([pixels] * 27)  # in one strip of more bytes than a tile may have
    tifffile.imwrite(path, large, photometric="rgb", rowsperstrip=len(large), metadata=None)
    check(path, large, None)


def test_dicom(tiles: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("pydicom", reason="pydicom is not installed")
    import dicom

    pixels = np.concatenate([np.concatenate(tiles[i : i + 2], 1) for i in (0, 2)])
    dicom.write(tmp_path / "slide.dcm", pixels, 0.25)
    rows = []
    for row in range(2):
        each = [aperio.decoded(aperio.encoded(tiles[2 * row + column])) for column in range(2)]
        rows.append(np.concatenate(each, 1))
    check(tmp_path / "slide.dcm", np.concatenate(rows), 0.25)
    with slides.open(tmp_path / "slide.dcm") as slide:
        assert slide.files == [tmp_path / "slide.dcm"]


@pytest.fixture(scope="module")
def whole_tiles(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of 2 x 2 tiles, and what they are once each tile was JPEG."""
    found = [tiles, np.stack([aperio.decoded(aperio.encoded(one)) for one in tiles[:4]])]
    first, second = (
        np.concatenate([np.concatenate(one[i : i + 2], 1) for i in (0, 2)]) for one in found
    )
    return first, second


def check_openslide(path: Path, vendor: str, expected: np.ndarray) -> list[Path]:
    """Compare level 0 with the pixels; return the files that the slide consists of."""
    height, width = expected.shape[:2]
    with slides.open(path) as slide:
        assert isinstance(slide, openslide_reader.OpenSlideSlide)
        assert slide._vendor == vendor
        assert slide.levels[0] == (height, width)
        assert slide.mpp == 0.25
        np.testing.assert_array_equal(slide.read(0, 0, 0, height, width), expected)
        part = slide.read(0, 300, 17, 500, 700)
        np.testing.assert_array_equal(part, expected[300:800, 17:717])
        for level, (rows, columns) in enumerate(slide.levels[1:], 1):
            small = slide.read(level, 0, 0, rows, columns)
            part = slide.read(level, rows // 3, 5, rows // 2, columns // 2)
            there = small[rows // 3 : rows // 3 + rows // 2, 5 : 5 + columns // 2]
            np.testing.assert_array_equal(part, there)
        return slide.files


@pytest.mark.parametrize(("suffix", "vendor"), [("ndpi", "hamamatsu"), ("bif", "ventana")])
def test_slides_of_scanners_in_one_file(
    whole_tiles: tuple[np.ndarray, np.ndarray], suffix: str, vendor: str, tmp_path: Path
) -> None:
    pixels, expected = whole_tiles
    if suffix == "ndpi":  # which is one JPEG
        expected = aperio.decoded(aperio.encoded(pixels))
    path = tmp_path / f"slide.{suffix}"
    getattr(scanners, f"write_{suffix}")(path, pixels, 0.25)
    assert check_openslide(path, vendor, expected) == [path]


def test_what_leica_did_not_scan_is_white(
    whole_tiles: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    pixels, scanned = whole_tiles
    path = tmp_path / "slide.scn"
    scanners.write_scn(path, pixels, 0.25, left=30, top=200)
    expected = np.full((2048, 2048, 3), 255, np.uint8)
    expected[200:1224, 30:1054] = scanned
    assert check_openslide(path, "leica", expected) == [path]


def test_mrxs_is_a_file_and_a_folder(
    whole_tiles: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    pixels, expected = whole_tiles
    path = tmp_path / "slide.mrxs"
    scanners.write_mrxs(path, pixels, 0.25)
    assert check_openslide(path, "mirax", expected) == [path, tmp_path / "slide"]


def test_the_content_tells_the_format_and_not_the_suffix(svs: Path, tmp_path: Path) -> None:
    path = tmp_path / "slide.png"
    path.write_bytes(svs.read_bytes())
    with slides.open(path) as slide:
        assert isinstance(slide, tiff_reader.TiffSlide)


def test_a_tile_whose_data_end_too_early_is_damaged(svs: Path, tmp_path: Path) -> None:
    path = tmp_path / svs.name
    path.write_bytes(svs.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        sizes = page.databytecounts
        index = int(np.argmax(sizes))
        offset, size = page.dataoffsets[index], sizes[index]
    with path.open("r+b") as stream:
        stream.seek(offset + size // 2)
        stream.write(b"\xff\xd9" + bytes(size - size // 2 - 4) + b"\xff\xd9")
    row, column = (512 * place for place in divmod(index, -(-3300 // 512)))
    with slides.open(path) as slide, pytest.raises(ValueError, match="data of its pixels are miss"):
        slide.read(0, row, column, 64, 64)


def write_svs(
    path: Path, tiles: list[bytes], compression: int | str, side: int, **options: object
) -> None:
    """Write square tiles, already compressed, one below the other as an SVS of one level."""
    words = "Aperio Image Library v11.2.1 \r\n|AppMag = 40|MPP = 0.2500"
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter(tiles),
            shape=(len(tiles) * side, side, 3),
            dtype=np.uint8,
            tile=(side, side),
            compression=compression,
            description=words,
            metadata=None,
            software=False,
            **options,
        )


@pytest.mark.parametrize("colours", ["RGB", "YCBC"])
def test_svs_in_jpeg_2000(tiles: np.ndarray, colours: str, tmp_path: Path) -> None:
    path, method = tmp_path / "slide.svs", tifffile.COMPRESSION[f"APERIO_JP2000_{colours}"]
    stored = [
        tile if colours == "RGB" else cv2.cvtColor(tile, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
        for tile in tiles[:2]
    ]
    encoded = [
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(tile), level=0, reversible=True, codecformat="j2k", mct=False
        )
        for tile in stored
    ]
    write_svs(path, encoded, method, 512, photometric="rgb")
    with slides.open(path) as slide:
        found = slide.read(0, 100, 0, 800, 512)
    # Y, Cb, Cr are rounded to whole levels, and back.
    expected = np.concatenate(tiles[:2])[100:900].astype(int)
    np.testing.assert_allclose(found, expected, atol=0 if colours == "RGB" else 2)
    write_svs(
        path, [encoded[0], encoded[1][: len(encoded[1]) // 2]], method, 512, photometric="rgb"
    )
    with slides.open(path) as slide:
        assert slide.read(0, 0, 0, 512, 512).any()
        with pytest.raises(
            ValueError, match=r"tile 1 \(row 1, column 0 of tiles\) is truncated or"
        ):
            slide.read(0, 300, 0, 512, 512)


def test_a_tile_that_holds_more_than_it_should_is_refused(
    tiles: np.ndarray, tmp_path: Path
) -> None:
    """By what its own header says, before it is decoded; and by its bytes."""
    large = np.concatenate([np.concatenate(tiles[:2], 1)] * 2)
    path, options = tmp_path / "slide.svs", {"photometric": "ycbcr", "subsampling": (1, 1)}
    write_svs(path, [aperio.encoded(tiles[0]), aperio.encoded(large)], "jpeg", 512, **options)
    with slides.open(path) as slide:
        assert slide.read(0, 0, 0, 512, 512).any()
        with pytest.raises(ValueError, match=r"tile 1 .* it holds 1,024 x 1,024 pixels"):
            slide.read(0, 512, 0, 512, 512)
    write_svs(path, [aperio.encoded(tiles[0]) + bytes(1 << 22)], "jpeg", 512, **options)
    with slides.open(path) as slide, pytest.raises(ValueError, match="more than its pixels"):
        slide.read(0, 0, 0, 512, 512)


def test_a_list_of_tiles_that_is_too_short_is_an_error(tiles: np.ndarray, tmp_path: Path) -> None:
    path, options = tmp_path / "slide.svs", {"photometric": "ycbcr", "subsampling": (1, 1)}
    write_svs(path, [aperio.encoded(tiles[0])] * 2, "jpeg", 512, **options)
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags["ImageLength"].valueoffset
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write((3 * 512).to_bytes(4, "little"))
    with slides.open(path) as slide, pytest.raises(ValueError, match=r"tile 2 .* is missing"):
        slide.read(0, 1024, 0, 512, 512)


def test_chunks_of_zarr_have_the_limits_of_images(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "slide.zarr", mode="w", zarr_format=2)
    large = root.create_array("0", shape=(1 << 17, 1 << 17), chunks=(1 << 17, 1 << 17), dtype="u1")
    axes = [{"name": one, "type": "space", "unit": "micrometer"} for one in "yx"]
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    assert large.shape
    with pytest.raises(ValueError, match="needs 17,179,869,184 bytes of memory"):
        slides.open(tmp_path / "slide.zarr")


def rewritten(svs: Path, path: Path, old: bytes, new: bytes) -> Path:
    content = svs.read_bytes()
    assert content.count(old)
    path.write_bytes(content.replace(old, new))
    return path


def truncated(svs: Path, path: Path) -> Path:
    path.write_bytes(svs.read_bytes()[:-5000])
    return path


def without_pixel_size(svs: Path, path: Path) -> Path:
    return rewritten(svs, path, b"|MPP = 0.25", b"|XPP = 0.25")


def text(svs: Path, path: Path) -> Path:
    path.write_text("no slide")
    return path


def zero_size_level(svs: Path, path: Path) -> Path:
    path.write_bytes(svs.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[1].tags["ImageWidth"]
    with path.open("r+b") as stream:
        stream.seek(tag.valueoffset)
        stream.write(bytes(2))
    return path


def empty(svs: Path, path: Path) -> Path:
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (truncated, "is truncated"),
        (without_pixel_size, "does not say its pixel size; give it .* --mpp"),
        (text, "accepted are"),
        (empty, "is empty"),
        (zero_size_level, "is damaged: it has a level without pixels|is truncated or damaged"),
        (lambda svs, path: path, "no such file"),
    ],
)
def test_a_broken_slide_is_one_clear_line(
    broken: object, words: str, svs: Path, tmp_path: Path
) -> None:
    path = broken(svs, tmp_path / "slide.svs")
    app = typer.Typer()
    app.command()(slide_command)
    result = CliRunner().invoke(app, [str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert re.search(words, line), line
    assert str(path) in line
