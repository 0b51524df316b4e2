"""A slide's files do not depend on regions, workers or restarts, and its labels are the image's."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from runs import FORMATS, digests, labels_of, run

from nucleiseg import Model, Segmenter, images, resizing, slides
from nucleiseg._native import cpu
from nucleiseg.slides.manifest import MANIFEST
from nucleiseg.slides.run import segment_slide
from nucleiseg.slides.store import FOLDER

REAL = Path(__file__).parents[3] / "shared/data/slides/CMU-1-Small-Region.svs"


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


def test_parameters_are_those_of_segment(tiles: Any, tmp_path: Path) -> None:
    picture = np.concatenate([np.concatenate(tiles[i : i + 3], 1) for i in (0, 3, 6)])
    images.write_png(tmp_path / "picture.png", picture)
    parameters = {
        "nucleus_threshold": 0.4,
        "separation": 0.02,
        "min_area": 200,
        "max_diameter": 32.0,
        "exclude_border": True,
    }
    expected = Segmenter(device="cpu").segment(picture, "labels", scale=1.0, **parameters)
    options = {"side": 1024, "tissue": "none", "mpp": 0.3}
    folder = run(tmp_path / "picture.png", tmp_path, **options, **parameters)
    np.testing.assert_array_equal(labels_of(folder), expected)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert {name: manifest["run"][name] for name in parameters} == parameters
    # They belong to what a run was made with.
    again = segment_slide(
        tmp_path / "picture.png", tmp_path, formats=FORMATS, device="cpu", resume=True, **options
    )
    assert again.is_new
    assert again.nuclei > expected.max()


@pytest.mark.parametrize("stain", ["auto", "he", "hematoxylin"])
def test_brown_nuclei_are_found_as_segment_finds_them(
    tiles: Any, stain: str, tmp_path: Path
) -> None:
    picture = np.concatenate(tiles[:2], 1)
    labels = Segmenter(device="cpu").segment(picture, "labels", scale=1.0)
    density = -np.log((picture[..., :1] + 1.0) / 256)
    dab, haematoxylin = np.array([0.42, 0.88, 1.2]), np.array([0.5, 0.54, 0.22])
    density = density * np.where((labels % 3 > 0)[..., None], dab, haematoxylin)
    picture = np.clip(256 * np.exp(-density) - 1, 0, 255).astype(np.uint8)
    images.write_png(tmp_path / "picture.png", picture)
    segmenter = Segmenter(device="cpu")
    expected, other = (
        segmenter.segment(picture, "labels", scale=1.0, stain=each)
        for each in (stain, "dab" if stain == "he" else "he")
    )
    assert expected.max() > 20
    assert not np.array_equal(expected, other)
    options = {"side": 1024, "tissue": "none", "mpp": 0.3, "stain": stain}
    folder = run(tmp_path / "picture.png", tmp_path, **options)
    np.testing.assert_array_equal(labels_of(folder), expected)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["run"].get("stain", "he") == ("dab" if stain == "auto" else stain)


def test_a_stain_that_there_is_not(tmp_path: Path) -> None:
    images.write_png(tmp_path / "picture.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="stain: got 'ihc'; accepted are 'auto', 'he', 'dab'"):
        run(tmp_path / "picture.png", tmp_path, stain="ihc", mpp=0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_the_border_of_a_rectangle_is_a_border(tiles: Any, tmp_path: Path) -> None:
    picture = np.concatenate([np.concatenate(tiles[i : i + 3], 1) for i in (0, 3, 6)])
    images.write_png(tmp_path / "picture.png", picture)
    options = {"side": 1024, "tissue": "none", "mpp": 0.3, "region": (200, 100, 900, 700)}
    found = {
        exclude: labels_of(
            run(
                tmp_path / "picture.png", tmp_path / str(exclude), exclude_border=exclude, **options
            )
        )[100:800, 200:1100]
        for exclude in (False, True)
    }
    edges = [[0, -1], np.s_[:]], [np.s_[:], [0, -1]]
    cut = np.unique(np.concatenate([found[False][tuple(edge)].ravel() for edge in edges]))
    kept = ~np.isin(found[False], cut)
    assert 0 < found[True].max() < found[False].max()
    np.testing.assert_array_equal(found[True] > 0, kept)


def test_a_bad_parameter_is_named(tmp_path: Path) -> None:
    images.write_png(tmp_path / "picture.png", np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match="separation: got 20; accepted are numbers from 0 to 1"):
        run(tmp_path / "picture.png", tmp_path, separation=20, mpp=0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


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


KILLS = 20

RESUMED = f"""
import sys
from nucleiseg.slides import segment_slide
segment_slide(
    sys.argv[1], sys.argv[2], formats={FORMATS!r}, device="cpu", side=1024, resume=True,
    progress=lambda done, total: print(done, total, flush=True),
)
"""


def test_a_run_that_is_killed_goes_on_to_the_same_files(
    svs: Path, unbroken: Path, tmp_path: Path
) -> None:
    """Kills at random points; when a run reaches its end before one, the next begins anew."""
    chance = random.Random(3)
    killed = begun = 0
    while killed < KILLS:
        folder = tmp_path / str(begun)
        if _ended_before_the_kill(svs, folder, chance.randrange(4), chance.random() / 2):
            begun += 1
            assert digests(folder / svs.stem) == digests(unbroken)
        else:
            killed += 1
    subprocess.run(
        [sys.executable, "-c", RESUMED, str(svs), str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert digests(folder / svs.stem) == digests(unbroken)


def _ended_before_the_kill(svs: Path, folder: Path, regions: int, seconds: float) -> bool:
    """Run until some more regions are done and a while has passed, and kill then."""
    command = [sys.executable, "-c", RESUMED, str(svs), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(regions + 1):  # the first line comes before any region
            process.stdout.readline()
        time.sleep(seconds)
        process.kill()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode == 0


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
    folder = run(svs, tmp_path, side=1024, region=(0, 0, 700, 700)) / FOLDER
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"side": 2048}))
    with pytest.raises(ValueError, match=r"resume: got other settings .* side 2048, now 1024"):
        run(svs, tmp_path, side=1024, resume=True)
    (folder / "settings.json").write_text('{"side": ')
    assert run(svs, tmp_path, side=1024, region=(0, 0, 700, 700), resume=True)


@pytest.fixture
def small(svs: Path, tmp_path: Path) -> dict[str, Any]:
    """What `segment_slide` is given for a rectangle of a copy of the slide."""
    path = tmp_path / svs.name
    shutil.copy(svs, path)
    return {
        "path": path,
        "output": tmp_path / "out",
        "formats": "geojson,csv",
        "device": "cpu",
        "region": (700, 700, 900, 700),
        "side": 1024,
    }


def changed_unseen(path: Path) -> None:
    """Change a tile, and neither the size nor the time of the file."""
    before = path.stat()
    with tifffile.TiffFile(path) as file:
        place, count = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes(count))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_thresholds(folder: Path) -> Path:
    """Copy the default model with another description of the same network."""
    for suffix in (".onnx", ".json"):
        shutil.copy(Model.load().path.with_suffix(suffix), folder / f"mine{suffix}")
    description = json.loads((folder / "mine.json").read_text())
    description["decoding"]["nucleus_threshold"] = 60
    (folder / "mine.json").write_text(json.dumps(description))
    return folder / "mine.onnx"


@pytest.mark.parametrize(
    "change",
    [
        lambda small: {"measurements": "all"},
        lambda small: {"compression": "gz"},
        lambda small: {"formats": "geojson,csv,density"},
        lambda small: {"region": (700, 700, 900, 800)},
        lambda small: {"model": other_thresholds(small["path"].parent)},
        lambda small: changed_unseen(small["path"]),
        lambda small: (small["output"] / "synthetic/nuclei.csv").write_text("id"),
        lambda small: (small["output"] / "synthetic/nuclei.geojson").unlink(),
        lambda small: (small["output"] / "synthetic" / MANIFEST).write_text('{"complete": true}'),
        lambda small: (small["output"] / "synthetic" / MANIFEST).write_text("[" * 10**6),
    ],
)
def test_what_decides_a_result_is_compared(small: dict[str, Any], change: Any) -> None:
    assert segment_slide(**small).is_new
    assert not segment_slide(**small, resume=True).is_new
    changes = change(small)
    options = small | (changes if isinstance(changes, dict) else {})
    assert segment_slide(**options, resume=True).is_new
    expected = digests(segment_slide(**options | {"output": small["output"] / "anew"}).folder)
    # Files of other formats, which the first run made, stay beside them.
    assert digests(small["output"] / "synthetic").items() >= expected.items()


@pytest.mark.parametrize("what", ["decoders", "arithmetic", "version", "description", "source"])
def test_what_a_result_depends_on_is_in_the_manifest(small: dict[str, Any], what: str) -> None:
    manifest = segment_slide(**small).folder / MANIFEST
    content = json.loads(manifest.read_text())
    assert content["run"][what]
    content["run"][what] = "another"
    manifest.write_text(json.dumps(content))
    assert segment_slide(**small, resume=True).is_new


def test_what_a_kill_left_at_the_end_is_removed(small: dict[str, Any]) -> None:
    folder = segment_slide(**small).folder
    expected = digests(folder)
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "region-000001.bin").touch()
    (folder / f".{'0' * 32}.part").touch()
    assert not segment_slide(**small, resume=True).is_new
    assert digests(folder) == expected


def test_a_second_run_at_the_same_time_is_refused(small: dict[str, Any]) -> None:
    refused: list[str] = []

    def again(done: int, total: int) -> None:
        with pytest.raises(ValueError, match="another run is at work there") as error:
            segment_slide(**small, resume=True)
        refused.append(str(error.value))

    assert segment_slide(**small, progress=again).nuclei
    assert refused
    assert not segment_slide(**small, resume=True).is_new


def test_files_that_no_run_made_are_not_replaced(small: dict[str, Any]) -> None:
    folder = small["output"] / "synthetic"
    folder.mkdir(parents=True)
    for name in ("tissue.geojson", "nuclei.csv"):
        (folder / name).write_text("mine")
        with pytest.raises(FileExistsError, match=f"{name}: is there and no run made it"):
            segment_slide(**small)
        assert (folder / name).read_text() == "mine"
        (folder / name).unlink()
    assert segment_slide(**small).nuclei
    assert segment_slide(**small).is_new
    drawn = (folder / "tissue.geojson").read_bytes()
    with pytest.raises(FileExistsError, match=r"tissue: got .*, which this run replaces"):
        segment_slide(**small, tissue=folder / "tissue.geojson")
    assert (folder / "tissue.geojson").read_bytes() == drawn


def test_a_complete_run_is_not_done_again(svs: Path, unbroken: Path) -> None:
    before = digests(unbroken)
    again = segment_slide(
        svs, unbroken.parent, formats=FORMATS, device="cpu", side=1024, resume=True
    )
    assert not again.is_new
    assert again.nuclei == labels_of(unbroken).max()
    assert digests(unbroken) == before


def test_a_damaged_tile_costs_its_region_alone(svs: Path, unbroken: Path, tmp_path: Path) -> None:
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
        if tile > 800:
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
    assert notes[0] == ["out of memory: tiles of 736 pixels"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone tells the peak")
@pytest.mark.parametrize("memory", [1e9, 2e9])
def test_memory_is_what_was_asked_for(tiles: Any, memory: float, tmp_path: Path) -> None:
    """0.1 Gpixel; `tests/slides/measure.py` does larger ones."""
    import aperio
    import peak

    path, (width, height) = tmp_path / "slide.svs", (12_288, 8_192)
    aperio.write(path, aperio.layout(tiles, width, height, 0.4), width, height)
    found = peak.measured(path, tmp_path, FORMATS, memory)
    assert found["nuclei"] > 1000
    assert found["peak"] < memory
