"""A slide's files do not depend on regions, workers or restarts, and its labels are the image's."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from nucleiseg import Segmenter, images, resizing, slides
from nucleiseg._native import cpu
from nucleiseg.slides.manifest import MANIFEST
from nucleiseg.slides.outputs import OUTPUTS
from nucleiseg.slides.run import segment_slide
from nucleiseg.slides.store import FOLDER

REAL = Path(__file__).parents[3] / "shared/data/slides/CMU-1-Small-Region.svs"

FORMATS = ",".join(OUTPUTS)


def labels_of(folder: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(folder / "labels.ome.zarr/labels/nuclei/0", mode="r")[:])


def digests(folder: Path, manifest: bool = True) -> dict[str, str]:
    """SHA-256 of each file, by its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (manifest or path.name != MANIFEST)
    }


def run(path: Path, folder: Path, **options: Any) -> Path:
    return segment_slide(path, folder, formats=FORMATS, device="cpu", **options).folder


@pytest.fixture(scope="module")
def unbroken(svs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(svs, tmp_path_factory.mktemp("unbroken"), side=1024)


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not there")
@pytest.mark.parametrize("side", [1024, 4096])
def test_labels_of_a_real_slide_are_those_of_segment(side: int, tmp_path: Path) -> None:
    with slides.open(REAL) as slide:
        pixels = slide.read(0, 0, 0, *slide.levels[0])
    expected = Segmenter(device="cpu").segment(pixels, "labels", mpp=0.499)
    found = labels_of(run(REAL, tmp_path, side=side, tissue="none")).astype(np.int32)
    rows, columns = map(resizing.nearest, pixels.shape[:2], found.shape)
    own = np.ascontiguousarray(found[rows][:, columns])
    assert cpu.keep_largest_pieces(own) > 1000
    np.testing.assert_array_equal(own, expected)


def test_labels_are_those_of_segment_where_nothing_is_resized(tiles: Any, tmp_path: Path) -> None:
    picture = np.concatenate([np.concatenate(tiles[i : i + 3], 1) for i in (0, 3, 6)])
    images.write_png(tmp_path / "picture.png", picture)
    expected = Segmenter(device="cpu").segment(picture, "labels", scale=1.0)
    assert expected.max() > 100
    folder = run(tmp_path / "picture.png", tmp_path, side=1024, tissue="none", mpp=0.3)
    np.testing.assert_array_equal(labels_of(folder), expected)


@pytest.mark.parametrize("side", [2048, 4096])
def test_regions_do_not_show_in_the_files(
    svs: Path, unbroken: Path, side: int, tmp_path: Path
) -> None:
    folder = run(svs, tmp_path, side=side)
    assert digests(folder, manifest=False) == digests(unbroken, manifest=False)
    manifest = json.loads((folder / MANIFEST).read_text())
    regions = manifest["regions"]
    assert regions["planned"] == regions["done"] + regions["skipped"] == len(manifest["each"])
    assert manifest["nuclei"] == labels_of(folder).max() > 300


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_show_in_the_files(
    svs: Path, unbroken: Path, workers: int, tmp_path: Path
) -> None:
    assert digests(run(svs, tmp_path, side=1024, workers=workers)) == digests(unbroken)


def test_tissue_that_is_given_is_looked_at_as_it_is(
    svs: Path, unbroken: Path, tmp_path: Path
) -> None:
    for name in ("tissue.png", "tissue.geojson"):
        folder = run(svs, tmp_path / name, side=2048, tissue=unbroken / name)
        for same in ("nuclei.csv", "tissue.png"):
            assert (folder / same).read_bytes() == (unbroken / same).read_bytes()


def test_a_rectangle_has_the_labels_of_the_whole(svs: Path, unbroken: Path, tmp_path: Path) -> None:
    x, y, width, height = 1000, 700, 1100, 900
    found = labels_of(run(svs, tmp_path, side=1024, region=(x, y, width, height)))
    whole = labels_of(unbroken)
    assert not found[:y].any()
    assert not found[:, x + width :].any()
    inner = np.s_[y + 100 : y + height - 100, x + 100 : x + width - 100]
    np.testing.assert_array_equal(found[inner] > 0, whole[inner] > 0)


def test_a_run_that_is_killed_goes_on_to_the_same_files(
    svs: Path, unbroken: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from nucleiseg.slides import segment_slide; "
        f"segment_slide(sys.argv[1], sys.argv[2], formats={FORMATS!r}, device='cpu', side=1024, "
        "resume=True)"
    )
    command = [sys.executable, "-c", code, str(svs), str(tmp_path)]
    chance = random.Random(3)
    folder = tmp_path / svs.stem
    for _ in range(6):
        process = subprocess.Popen(command)
        _wait_for_regions(process, folder, chance.randrange(1, 5))
        time.sleep(chance.random() / 2)
        process.kill()
        process.wait()
    subprocess.run(command, check=True)
    assert digests(folder) == digests(unbroken)


def _wait_for_regions(process: subprocess.Popen[bytes], folder: Path, more: int) -> None:
    """Wait until a process has written so many regions more, or ended."""
    before = len(list((folder / FOLDER).glob("region-*")))
    while process.poll() is None and len(list((folder / FOLDER).glob("region-*"))) < before + more:
        time.sleep(0.02)


def test_a_damaged_region_file_is_found_and_done_again(
    svs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nucleiseg.slides import store

    monkeypatch.setattr(store.Store, "clear", lambda self: None)
    folder = run(svs, tmp_path, side=1024)
    regions = sorted((folder / FOLDER).glob("region-*"))
    content = bytearray(regions[1].read_bytes())
    content[len(content) // 2] ^= 1
    regions[1].write_bytes(content)
    regions[2].write_bytes(regions[2].read_bytes()[:-9])
    (folder / MANIFEST).unlink()
    seen: list[tuple[int, int]] = []
    run(svs, tmp_path, side=1024, resume=True, progress=lambda *each: seen.append(each))
    assert seen[0] == (len(regions) - 2, len(regions))
    monkeypatch.undo()
    run(svs, tmp_path, side=1024, resume=True)
    store.Store(folder / FOLDER, {}, resume=False).clear()
    assert digests(folder) == digests(unbroken)


def test_a_run_of_other_settings_is_not_gone_on_with(svs: Path, tmp_path: Path) -> None:
    (tmp_path / svs.stem / FOLDER).mkdir(parents=True)
    run(svs, tmp_path, side=1024, region=(0, 0, 700, 700))
    folder = tmp_path / svs.stem / FOLDER
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"side": 2048}))
    with pytest.raises(ValueError, match=r"resume: got other settings .* side 2048, now 1024"):
        run(svs, tmp_path, side=1024, resume=True)


def test_a_complete_run_is_not_done_again(svs: Path, unbroken: Path) -> None:
    before = digests(unbroken)
    again = segment_slide(
        svs, unbroken.parent, formats=FORMATS, device="cpu", side=1024, resume=True
    )
    assert not again.is_new
    assert again.nuclei == labels_of(unbroken).max()
    assert digests(unbroken) == before


def test_a_damaged_tile_costs_its_region_alone(svs: Path, unbroken: Path, tmp_path: Path) -> None:
    import tifffile

    broken = tmp_path / svs.name
    broken.write_bytes(svs.read_bytes())
    with tifffile.TiffFile(broken) as file:
        page = file.pages.first
        place, count = page.dataoffsets[2 * 7 + 3], page.databytecounts[2 * 7 + 3]
    # The tile of rows 1024 to 1535 and columns 1536 to 2047 alone: others have its bytes, too.
    with broken.open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes(count))
    summary = segment_slide(broken, tmp_path, formats=FORMATS, device="cpu", side=1024)
    manifest = json.loads((summary.folder / MANIFEST).read_text())
    failed = [one for one in manifest["each"] if one["state"] == "failed"]
    assert len(summary.failures) == len(failed) >= 1
    assert all("of tiles) is truncated or damaged" in one["why"] for one in failed)
    assert manifest["complete"] is False
    found, whole = labels_of(summary.folder), labels_of(unbroken)
    assert not found[1024:2048, 1024:2048].any()
    np.testing.assert_array_equal(found[:300] > 0, whole[:300] > 0)
    assert found.max() > 100


def test_blank_glass_has_no_nuclei(tmp_path: Path) -> None:
    import aperio

    glass = np.broadcast_to(aperio.GLASS, (1, 512, 512, 3))
    path = tmp_path / "glass.svs"
    aperio.write(path, aperio.layout(glass, 2000, 1500, 0.0), 2000, 1500)
    for wanted in ("auto", "none"):
        summary = segment_slide(
            path, tmp_path / wanted, formats=FORMATS, device="cpu", tissue=wanted
        )
        assert summary.nuclei == 0
        assert json.loads((summary.folder / MANIFEST).read_text())["complete"]
        assert json.loads((summary.folder / "nuclei.geojson").read_text())["features"] == []


def test_no_region_is_lost_where_memory_runs_out(
    svs: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nucleiseg.slides import network

    real = network._maps

    def scarce(segmenter: Any, picture: Any, tile: int, batch: int) -> Any:
        if tile > 700:
            raise RuntimeError("CUDA: out of memory (cudaErrorMemoryAllocation from cudaMalloc)")
        return real(segmenter, picture, tile, batch)

    monkeypatch.setattr(network, "_maps", scarce)
    folder = run(svs, tmp_path, side=1024)
    assert digests(folder, manifest=False) == digests(unbroken, manifest=False)
    notes = [
        one["notes"]
        for one in json.loads((folder / MANIFEST).read_text())["each"]
        if "notes" in one
    ]
    assert notes
    assert notes[0] == ["out of memory: tiles of 672 pixels"]
