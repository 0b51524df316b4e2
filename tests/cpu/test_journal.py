"""What is known of a run's files, before and after each of them."""

import json
import os
import shutil

import numpy as np
import pytest

from nucleiseg import outputs, records
from nucleiseg.outputs import Result
from nucleiseg.records import FOLDER, LOG_ENDING, Records

FORMATS = outputs.formats("mask,csv")
SETTINGS = {"model": "0"}


@pytest.fixture
def result():
    labels = np.zeros((40, 50), np.int32)
    labels[5:20, 5:20] = 1
    return Result(labels.astype(np.uint8), labels > 0, labels)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"an image")
    return path


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out" / "below").mkdir(parents=True)
    return tmp_path / "out"


def logs(out):
    return list((out / FOLDER).glob(f"*{LOG_ENDING}"))


def named(out, *stems):
    return {
        os.path.realpath(out / f"{stem}{ending}")
        for stem in stems
        for each in FORMATS
        for ending in each.endings
    }


def made(out):
    """Of all files that the tests' stems could become, those that count as results."""
    known = records.Made()
    return {path for path in named(out, "a", "below/b", "c", "below/a", "b") if path in known}


def do(kept, stem, image, result):
    source = records.source(image)
    record = kept.begin(stem, source, FORMATS)
    files = [each.save(stem, result) for each in FORMATS]
    kept.finish(record, stem, files, 1, None)


def is_done(out, stem, image):
    found = Records(out, SETTINGS, resume=True).find(stem, records.source(image), FORMATS, False)
    return found is not None


def test_files_are_outputs_from_the_moment_they_are_begun(out, image):
    kept = Records(out, SETTINGS)
    assert made(out) == set()
    for stem in ("a", "below/b"):
        kept.begin(out / stem, records.source(image), FORMATS)
    assert made(out) == named(out, "a", "below/b")
    assert not is_done(out, out / "a", image)


def test_a_run_leaves_one_record_a_plane_and_no_log(out, image, result):
    kept = Records(out, SETTINGS)
    for stem in ("a", "below/b"):
        do(kept, out / stem, image, result)
    assert len(logs(out)) == 1
    kept.close()
    found = {path.relative_to(out / FOLDER).as_posix() for path in (out / FOLDER).rglob("*.json")}
    assert found == {"a.json", "below/b.json"}
    assert not logs(out)
    assert made(out) == named(out, "a", "below/b")
    assert is_done(out, out / "below" / "b", image)


def test_what_failed_stays_an_output_when_the_log_is_gone(out, image, result):
    kept = Records(out, SETTINGS)
    do(kept, out / "a", image, result)
    kept.begin(out / "below" / "b", records.source(image), FORMATS)
    kept.close()
    assert not logs(out)
    assert made(out) == named(out, "a", "below/b")
    assert is_done(out, out / "a", image)
    assert not is_done(out, out / "below" / "b", image)


def test_the_log_of_a_run_that_was_killed_becomes_records(out, image, result):
    killed = Records(out, SETTINGS)
    do(killed, out / "a", image, result)
    killed.begin(out / "below" / "b", records.source(image), FORMATS)
    with records.claimed(out):
        assert not logs(out)
        assert made(out) == named(out, "a", "below/b")
        assert is_done(out, out / "a", image)


def test_the_log_of_a_run_that_is_still_there_is_left_alone(out, image):
    with records.claimed(out):
        running = Records(out, SETTINGS)
        running.begin(out / "a", records.source(image), FORMATS)
        with records.claimed(out):
            assert len(logs(out)) == 1
            other = Records(out, SETTINGS)
            other.begin(out / "below" / "b", records.source(image), FORMATS)
            assert len(logs(out)) == 2
            other.close()
        assert len(logs(out)) == 1


def test_a_line_that_is_cut_off_spoils_no_other(out, image):
    kept = Records(out, SETTINGS)
    kept.begin(out / "a", records.source(image), FORMATS)
    (log,) = logs(out)
    with log.open("ab") as file:
        file.write(b'\n["c", ["c_ma')
    kept.begin(out / "below" / "b", records.source(image), FORMATS)
    with log.open("ab") as file:
        file.write(b"\n7\n[]\n[")
    assert made(out) == named(out, "a", "below/b")
    with records.claimed(out):
        assert made(out) == named(out, "a", "below/b")


def test_what_a_record_names_is_not_logged_again(out, image, result):
    for _ in range(2):
        kept = Records(out, SETTINGS)
        do(kept, out / "a", image, result)
        kept.close()
    again = Records(out, {"model": "another"})
    again.begin(out / "a", records.source(image), FORMATS)
    assert not logs(out)
    assert made(out) == named(out, "a")


def test_sums_of_a_record_survive_the_log_of_another_format(out, image, result):
    kept = Records(out, SETTINGS)
    do(kept, out / "a", image, result)
    kept.close()
    kept = Records(out, SETTINGS)
    kept.begin(out / "a", records.source(image), outputs.formats("labels"))
    kept.close()
    record = json.loads((out / FOLDER / "a.json").read_bytes())
    assert record["files"]["a_labels.png"] is None
    assert is_done(out, out / "a", image)


def test_without_room_for_records_the_log_stays(out, image, monkeypatch):
    kept = Records(out, SETTINGS)
    kept.begin(out / "a", records.source(image), FORMATS)

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nucleiseg.images.write", full)
        kept.close()
    assert len(logs(out)) == 1
    assert made(out) == named(out, "a")
    with records.claimed(out):
        assert not logs(out)
    shutil.rmtree(out / FOLDER)
    assert made(out) == set()
