"""Which images files, folders and patterns stand for."""

import os
import re

import numpy as np
import pytest

from nucleiseg import images, outputs, walk
from nucleiseg.journal import FOLDER, NAME, Journal
from nucleiseg.result import Result


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*paths):
    return walk.find(paths).images


def names_below(folder, *paths):
    return [path.relative_to(folder).as_posix() for path in found(*(paths or (folder,)))]


@pytest.fixture
def plate(tmp_path):
    put(
        tmp_path,
        "a10.png",
        "a2.png",
        "notes.txt",
        "B.TIF",
        "below/c.jpg",
        ".hidden.png",
        ".cache/d.png",
    )
    return tmp_path


def test_a_folder_stands_for_its_images_in_natural_order(plate):
    assert names_below(plate) == ["B.TIF", "a2.png", "a10.png", "below/c.jpg"]


def test_a_hidden_folder_that_is_given_is_searched(plate):
    assert names_below(plate, plate / ".cache") == [".cache/d.png"]
    assert names_below(plate, plate / ".c*" / "*.png") == [".cache/d.png"]
    assert names_below(plate, plate / ".hidden.png") == [".hidden.png"]


@pytest.mark.parametrize("suffix", [*walk.SUFFIXES, ".ome.tf2", ".PNG", ".Svs", ".JPEG"])
def test_every_suffix_is_found_in_any_case(tmp_path, suffix):
    put(tmp_path, f"a{suffix}")
    assert names_below(tmp_path) == [f"a{suffix}"]


def test_patterns_files_and_folders_come_in_the_order_given_and_once(plate):
    given = (plate / "below", plate / "notes.txt", plate / "a*.png", plate, plate)
    assert names_below(plate, *given) == ["below/c.jpg", "notes.txt", "a2.png", "a10.png", "B.TIF"]


def test_a_pattern_reaches_sub_folders(plate):
    put(plate, "below/more/e.jpg")
    assert names_below(plate, plate / "**" / "*.jpg") == ["below/c.jpg", "below/more/e.jpg"]
    assert names_below(plate, plate / "**") == names_below(plate)
    assert names_below(plate, plate / "be*") == ["below/c.jpg", "below/more/e.jpg"]
    assert names_below(plate, plate / "*" / ".." / "a?.png") == ["below/../a2.png"]


def test_patterns_are_relative_to_the_working_folder(plate, monkeypatch):
    monkeypatch.chdir(plate)
    assert [path.as_posix() for path in found("a*.png", "./below/*")] == [
        "a2.png",
        "a10.png",
        "below/c.jpg",
    ]


def test_what_exists_as_it_is_written_is_no_pattern(tmp_path):
    put(
        tmp_path,
        "well[1].png",
        "well1.png",
        "plate[1]/a.png",
        "plate[1]/b[2].png",
        "plate1/c.png",
        "x/plate[1]/d.png",
        "x/plate1/e.png",
    )
    assert names_below(tmp_path, tmp_path / "well[1].png") == ["well[1].png"]
    assert names_below(tmp_path, tmp_path / "plate[1]") == ["plate[1]/a.png", "plate[1]/b[2].png"]
    assert names_below(tmp_path, tmp_path / "plate[1]" / "*.png") == [
        "plate[1]/a.png",
        "plate[1]/b[2].png",
    ]
    assert names_below(tmp_path, tmp_path / "plate[1]" / "[ab].png") == ["plate[1]/a.png"]
    assert names_below(tmp_path, tmp_path / "plate[12]" / "*.png") == ["plate1/c.png"]
    assert names_below(tmp_path, tmp_path / "*" / "plate[1]" / "*.png") == ["x/plate[1]/d.png"]
    assert names_below(tmp_path, tmp_path / "**" / "plate[1]" / "[a-d].png") == [
        "plate[1]/a.png",
        "x/plate[1]/d.png",
    ]


def test_arrays_are_found_by_name_and_pattern_only(plate):
    put(plate, "array.npy", "other.NPY")
    assert plate / "array.npy" not in found(plate)
    assert names_below(plate, plate / "array.npy") == ["array.npy"]
    assert names_below(plate, plate / "*.npy") == ["array.npy"]
    assert names_below(plate, plate / "*.NPY") == ["other.NPY"]


def test_a_pattern_that_names_a_suffix_takes_it_as_a_file_named_does(plate):
    put(plate, "scan.dat", "scan")
    assert names_below(plate, plate / "*.dat") == ["scan.dat"]
    assert names_below(plate, plate / "*") == names_below(plate)
    with pytest.raises(ValueError, match="no images there"):
        found(plate / "sca*")
    with pytest.raises(ValueError, match="no images there"):
        found(plate / "scan.*")


def test_a_zarr_folder_is_one_image(tmp_path):
    put(tmp_path, "a.zarr/.zgroup", "a.zarr/0/thumbnail.png", "a.zarr/b.png", "b.png")
    for path in (tmp_path, tmp_path / "*", tmp_path / "**"):
        assert names_below(tmp_path, path) == ["a.zarr", "b.png"]
    assert names_below(tmp_path, tmp_path / "a.zarr") == ["a.zarr"]
    assert names_below(tmp_path, tmp_path / "**" / "*.png") == ["b.png"]


def test_a_folder_or_pattern_without_images_is_an_error(plate):
    (plate / "empty").mkdir()
    for path in (plate / "empty", plate / "*.webp"):
        with pytest.raises(ValueError, match=re.escape(f"{path}: no images there")) as caught:
            found(path)
        assert all(suffix in str(caught.value) for suffix in walk.SUFFIXES)


@pytest.mark.parametrize("name", ["none", "a2.png/below", "", "\udcff.png", "none.svs"])
def test_a_path_that_does_not_exist_is_an_error(plate, monkeypatch, name):
    monkeypatch.chdir(plate)
    with pytest.raises(FileNotFoundError, match=f"{name or '..'}: no such file or folder"):
        found(plate, name)


def test_a_name_that_is_too_long_for_any_file_is_an_error(plate):
    with pytest.raises(OSError, match="File name too long"):
        found(plate / ("n" * 300))
    with pytest.raises(ValueError, match="no images there"):
        found(plate / ("n" * 300 + "*"))


# Links


def test_links_to_folders_are_followed(tmp_path):
    put(tmp_path, "elsewhere/day/a.png", "in/b.png")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    assert names_below(tmp_path, tmp_path / "in") == ["in/b.png", "in/linked/day/a.png"]
    for pattern in ("**/*.png", "**/day/*.png", "*/day/*", "l*"):
        assert "in/linked/day/a.png" in names_below(tmp_path, tmp_path / "in" / pattern)


def test_links_that_run_in_rings_end(tmp_path):
    put(tmp_path, "in/a.png", "in/below/b.png")
    for name in ("one", "two", "below/three", "below/four"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "in")
    for path in (tmp_path / "in", tmp_path / "in" / "**", tmp_path / "in" / "**" / "*.png"):
        assert names_below(tmp_path, path) == ["in/a.png", "in/below/b.png"]


def test_what_several_links_lead_to_is_found_once_under_its_own_name(tmp_path):
    put(tmp_path, "in/real/a.png", "elsewhere/b.png")
    (tmp_path / "in" / "0").symlink_to(tmp_path / "in" / "real")
    (tmp_path / "in" / "real" / "0.png").symlink_to("a.png")
    (tmp_path / "in" / "y").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "x").symlink_to(tmp_path / "elsewhere")
    assert names_below(tmp_path, tmp_path / "in") == ["in/real/a.png", "in/x/b.png"]


def test_a_link_to_a_zarr_folder_is_an_image(tmp_path):
    put(tmp_path, "elsewhere/a.zarr/.zarray")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.zarr").symlink_to(tmp_path / "elsewhere" / "a.zarr")
    assert names_below(tmp_path, tmp_path / "in") == ["in/b.zarr"]


def test_links_that_lead_nowhere_are_for_the_reader_to_say(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").symlink_to(tmp_path / "nowhere")
    assert names_below(tmp_path) == ["a.png", "b.png", "c.png"]
    assert names_below(tmp_path, tmp_path / "c.png") == ["c.png"]


# Results of earlier runs


def result():
    labels = np.zeros((40, 50), np.int32)
    labels[5:20, 5:20] = 1
    return Result(labels.astype(np.uint8), labels > 0, labels, name="a.png")


def save(output, *stems, killed=False):
    """Do what a run does of every format; one that is killed comes to no end."""
    chosen = list(outputs.FORMATS.values())
    kept = Journal(output)
    for stem in (output / stem for stem in stems):
        stem.parent.mkdir(parents=True, exist_ok=True)
        kept.begin(stem, [each.path(stem, result()).name for each in chosen])
        files = [each.save(stem, result()) for each in chosen]
        if not killed:
            kept.finish(stem, "", files, 1, "", None)


@pytest.fixture(params=[False, True], ids=["finished", "killed"])
def killed(request):
    return request.param


def test_results_of_any_run_beside_or_below_images_are_no_images(tmp_path, killed):
    put(tmp_path, "a.png", "below/b.png", "monday/own.png")
    save(tmp_path, "a", "below/b", killed=killed)
    save(tmp_path / "monday", "a", "below/b", killed=killed)
    save(tmp_path / "below" / "tuesday", "b", killed=killed)
    expected = ["a.png", "below/b.png", "monday/own.png"]
    assert names_below(tmp_path) == expected
    for pattern in ("**", "**/*.png", "*"):
        assert names_below(tmp_path, tmp_path / pattern) == expected
    assert names_below(tmp_path, tmp_path / "below") == ["below/b.png"]
    assert names_below(tmp_path, tmp_path / "monday") == ["monday/own.png"]
    assert names_below(tmp_path, tmp_path / "*" / "*.png") == ["below/b.png", "monday/own.png"]
    assert names_below(tmp_path, tmp_path / "below" / "*") == ["below/b.png"]


def test_a_folder_of_results_alone_says_so(tmp_path, killed):
    save(tmp_path / "out", "a", "below/b", killed=killed)
    given = ("out", "out/below", "out/*_mask.png", "out/**/*.tif", "out/below/*")
    for path in (tmp_path / each for each in given):
        with pytest.raises(ValueError, match="no images there, only results of earlier runs"):
            found(path)


def test_results_named_among_images_are_left_out_with_a_note(tmp_path, killed):
    put(tmp_path, "a.png")
    save(tmp_path, "a", killed=killed)
    assert names_below(tmp_path, *sorted(tmp_path.glob("*.png"))) == ["a.png"]
    assert walk.find(tmp_path.glob("*.png")).notes == [
        "left out 3 of the files named: results of earlier runs"
    ]


def test_results_are_images_where_nothing_else_is_named(tmp_path, killed):
    put(tmp_path, "a.png")
    save(tmp_path, "a", killed=killed)
    masks = [tmp_path / "a_overlay.png", tmp_path / "a_mask.png"]
    assert walk.find([*masks, *masks]) == walk.Found(masks, [])


def test_a_link_does_not_make_an_image_of_a_result(tmp_path):
    put(tmp_path, "in/a.png")
    save(tmp_path / "out", "a")
    (tmp_path / "in" / "results").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "one.png").symlink_to(tmp_path / "out" / "a_mask.png")
    assert names_below(tmp_path, tmp_path / "in") == ["in/a.png"]


def test_results_behind_a_link_in_a_folder_for_outputs_are_known(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "below").symlink_to(tmp_path / "elsewhere")
    save(tmp_path / "out", "below/b")
    assert (tmp_path / "elsewhere" / "b_mask.png").exists()
    with pytest.raises(ValueError, match="no images there, only results of earlier runs"):
        found(tmp_path / "out")


def test_what_is_named_like_a_result_is_an_image_where_no_run_made_it(tmp_path):
    put(tmp_path, "in/a_mask.png", "in/b_labels.tif", "out/below/a_mask.png")
    save(tmp_path / "out", "a")
    (tmp_path / "in" / FOLDER).mkdir()
    assert names_below(tmp_path) == ["in/a_mask.png", "in/b_labels.tif", "out/below/a_mask.png"]


def test_a_journal_that_is_damaged_names_nothing(tmp_path):
    put(tmp_path, "a.png", "a_mask.png")
    (tmp_path / FOLDER).mkdir()
    lines = (
        b'begun\t"a"\t5\nbegun\t3\t[]\n\xff\n{}\nbegun\t"a"\t[["a_mask.png"]]\nbegun\t"a"\t["a_ma'
    )
    (tmp_path / FOLDER / NAME).write_bytes(lines)
    assert names_below(tmp_path) == ["a.png", "a_mask.png"]
    (tmp_path / FOLDER / NAME).unlink()
    (tmp_path / FOLDER / NAME).mkdir()
    assert names_below(tmp_path) == ["a.png", "a_mask.png"]


# Files that are images, but not of a kind that is read


def test_slides_are_found_or_named_with_what_to_do(tmp_path):
    put(tmp_path, "a.svs", "b.NDPI", "c.ndpi", "below/d.mrxs", "below/d/Data0000.dat")
    result = walk.find([tmp_path])
    assert [path.name for path in result.images] == ["a.svs"]
    assert result.notes == [
        "left out 1 .mrxs (MIRAX slides) and 2 .ndpi (Hamamatsu slides), which are not read; "
        "export them as OME-TIFF or PNG, for example with QuPath or Fiji"
    ]


@pytest.mark.parametrize("suffix", walk.UNREAD)
def test_a_folder_of_nothing_but_what_is_not_read_names_it(tmp_path, suffix):
    put(tmp_path, f"a{suffix}")
    words = rf"no images there that can be read, but 1 \{suffix} \({walk.UNREAD[suffix]}\); export"
    for path in (tmp_path, tmp_path / "**", tmp_path / "a*"):
        with pytest.raises(ValueError, match=words):
            found(path)
    # Named, it is for the reader to say; the content tells the format.
    assert names_below(tmp_path, tmp_path / f"a{suffix}") == [f"a{suffix}"]


def test_names_of_all_kinds_are_found(tmp_path):
    names = ["two\nlines.png", "-o.png", "\udcff\udcfe.png", "🔬.png", "[a].png", "*.png", " .png"]
    put(tmp_path, *names)
    assert sorted(names_below(tmp_path)) == sorted(names)
    assert sorted(names_below(tmp_path, tmp_path / "?*.png")) == sorted(names)
    for name in names:
        assert names_below(tmp_path, tmp_path / name) == [name]
    assert os.fsencode(found(tmp_path / "\udcff*")[0]).endswith(b"/\xff\xfe.png")
    with pytest.raises(ValueError, match="is empty"):
        images.read(tmp_path / "\udcff\udcfe.png")
