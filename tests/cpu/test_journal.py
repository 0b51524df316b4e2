"""What is known of a run's files, before and after each of them."""

import json
import os
import random
import shutil

import numpy as np
import pytest

from nucleiseg import journal, outputs
from nucleiseg.journal import FOLDER, NAME, Journal
from nucleiseg.report.entry import Entry
from nucleiseg.result import Result

FORMATS = outputs.formats("mask,csv")
SETTINGS = {"model": "0"}
ENTRY = {"picture": [1, 2]}


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


def named(out, *stems):
    return {
        os.path.realpath(out / f"{stem}{ending}")
        for stem in stems
        for each in FORMATS
        for ending in each.endings
    }


def made(out):
    """Of all files that the tests' stems could become, those that count as results."""
    known = journal.Made()
    return {path for path in named(out, "a", "below/b", "c", "below/a", "b") if path in known}


def begin(kept, stem, formats=FORMATS):
    kept.begin(stem, [stem.name + each.ending for each in formats])


def do(kept, stem, image, result, formats=FORMATS, entry=ENTRY):
    begin(kept, stem, formats)
    files = [each.save(stem, result) for each in formats]
    kept.finish(stem, journal.checksum(image), files, 1, "", entry)


def found(out, stem, image, settings=SETTINGS, formats=FORMATS):
    return Journal(out, settings).find(stem, journal.checksum(image), formats)


def test_files_are_outputs_from_the_moment_they_are_begun(out, image):
    kept = Journal(out, SETTINGS)
    assert made(out) == set()
    for stem in ("a", "below/b"):
        begin(kept, out / stem)
    assert made(out) == named(out, "a", "below/b")
    assert found(out, out / "a", image) is None


def test_what_is_done_is_found_with_its_entry(out, image, result):
    kept = Journal(out, SETTINGS)
    for stem in ("a", "below/b"):
        do(kept, out / stem, image, result)
    for stem in ("a", "below/b"):
        again = Journal(out, SETTINGS)
        done = again.find(out / stem, journal.checksum(image), FORMATS)
        assert (done.nuclei, done.doubt, again.entry(done)) == (1, "", ENTRY)
    assert found(out, out / "c", image) is None


def test_what_was_made_of_another_file_or_otherwise_is_not_found(out, image, result):
    do(Journal(out, SETTINGS), out / "a", image, result)
    assert found(out, out / "a", image, {"model": "1"}) is None
    assert found(out, out / "a", image, formats=outputs.formats("labels")) is None
    when = image.stat()
    image.write_bytes(b"an imagE")
    os.utime(image, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert found(out, out / "a", image) is None
    assert Journal(out, SETTINGS).find(out / "a", "", FORMATS) is None


def test_a_zarr_folder_is_all_of_its_files(tmp_path):
    folder = tmp_path / "a.zarr"
    (folder / "c").mkdir(parents=True)
    (folder / "c" / "0").write_bytes(b"1")
    (folder / "c" / "1").write_bytes(b"2")
    seen = {journal.checksum(folder)}
    (folder / "c" / "1").write_bytes(b"3")
    seen.add(journal.checksum(folder))
    (folder / "c" / "1").rename(folder / "c" / "2")
    seen.add(journal.checksum(folder))
    assert len(seen) == 3
    assert journal.checksum(tmp_path / "none") == ""


def test_formats_of_two_runs_are_known_together(out, image, result):
    do(Journal(out, SETTINGS), out / "a", image, result)
    labels = outputs.formats("labels")
    do(Journal(out, SETTINGS), out / "a", image, result, labels, entry=None)
    again = Journal(out, SETTINGS)
    done = again.find(out / "a", journal.checksum(image), [*FORMATS, *labels])
    assert again.entry(done) == ENTRY
    begin(Journal(out, SETTINGS), out / "a", outputs.formats("overlay"))
    assert found(out, out / "a", image) is not None


def test_a_file_that_changed_is_not_believed(out, image, result):
    do(Journal(out, SETTINGS), out / "a", image, result)
    (out / "a_mask.png").write_bytes(b"by hand")
    assert found(out, out / "a", image) is None
    assert found(out, out / "a", image, formats=outputs.formats("csv")) is not None


def test_a_line_that_is_cut_off_spoils_no_other(out, image, result):
    kept = Journal(out, SETTINGS)
    begin(kept, out / "a")
    with (out / FOLDER / NAME).open("ab") as file:
        file.write(b'\nbegun\t"c"\t["c_ma')
    do(kept, out / "below" / "b", image, result)
    assert made(out) == named(out, "a", "below/b")
    assert found(out, out / "below" / "b", image) is not None


def test_what_another_run_makes_meanwhile_is_known(out):
    kept = Journal(out, SETTINGS)
    assert out / "a_mask.png" not in kept
    begin(Journal(out, SETTINGS), out / "a")
    assert out / "a_mask.png" in kept
    assert out / "b_mask.png" not in kept


def test_what_is_known_to_be_made_is_not_written_again(out):
    kept = Journal(out, SETTINGS)
    begin(kept, out / "a")
    size = (out / FOLDER / NAME).stat().st_size
    begin(kept, out / "a")
    begin(Journal(out, SETTINGS), out / "a")
    assert (out / FOLDER / NAME).stat().st_size == size


def test_a_folder_is_shared_by_runs_of_the_same_settings_alone(out):
    with Journal(out, SETTINGS).claimed():
        with Journal(out, SETTINGS).claimed():
            pass
        other = Journal(out, {"model": "1"})
        with (
            pytest.raises(ValueError, match="a run with other settings is at work there"),
            other.claimed(),
        ):
            pass
    with other.claimed():
        pass
    assert not list((out / FOLDER).glob("*.run"))


def test_what_a_run_that_was_killed_held_is_free(out):
    process = os.fork()
    if process == 0:
        claim = Journal(out, {"model": "1"}).claimed()
        claim.__enter__()
        os._exit(0)  # without leaving the block
    os.waitpid(process, 0)
    assert len(list((out / FOLDER).glob("*.run"))) == 1
    with Journal(out, SETTINGS).claimed():
        assert len(list((out / FOLDER).glob("*.run"))) == 1
    assert not list((out / FOLDER).glob("*.run"))


def test_half_files_are_removed_by_a_run_that_is_there_alone(out):
    begin(Journal(out, SETTINGS), out / "below" / "b")
    parts = [folder / f".{'0' * 32}.part" for folder in (out, out / "below")]
    with Journal(out, SETTINGS).claimed():
        for part in parts:
            part.touch()
        (out / ".mine.part").touch()
        with Journal(out, SETTINGS).claimed():
            assert all(part.exists() for part in parts)
    with Journal(out, SETTINGS).claimed():
        assert not any(part.exists() for part in parts)
    assert (out / ".mine.part").exists()


def test_a_journal_without_its_folder_knows_nothing(out):
    begin(Journal(out, SETTINGS), out / "a")
    shutil.rmtree(out / FOLDER)
    assert made(out) == set()


# A journal is what anyone may have written


OUTSIDE = ["../victim", "/tmp/victim", "below/../../victim", ".", "..", "", "a//b", "a\0b", 7, None]


@pytest.mark.parametrize("stem", OUTSIDE)
def test_no_line_leads_out_of_the_folder(out, stem):
    (out / FOLDER).mkdir()
    part = out.parent / f".{'0' * 32}.part"
    part.touch()
    lines = [
        f"begun\t{json.dumps(stem)}\t{json.dumps(['victim_mask.png'])}",
        f"begun\t{json.dumps('a')}\t{json.dumps(['a_csv', stem])}",
        f"begun\t{json.dumps('a')}\t{json.dumps(['../victim.json'])}",
    ]
    (out / FOLDER / NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")
    kept = Journal(out, SETTINGS)
    for name in ("victim_mask.png", "victim.json"):
        assert str(out.parent / name) not in journal.Made()
        assert str(out / name) not in journal.Made()
    with kept.claimed():
        pass
    assert part.exists()
    assert {path.name for path in out.parent.iterdir()} == {"out", part.name}


def test_damaged_lines_are_skipped_and_their_images_done_again(out, image, result):
    kept = Journal(out, SETTINGS)
    for stem in ("a", "below/b"):
        do(kept, out / stem, image, result)
    whole = (out / FOLDER / NAME).read_bytes()
    rng = random.Random(0)
    lost = 0
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((0, 1, 1, 40))] = rng.choice(
                (b"", bytes([rng.randrange(256)]), b"\t", b"[" * 9999, b"null", b"\n", b'"\\ud800"')
            )
        (out / FOLDER / NAME).write_bytes(data)
        again = Journal(out, SETTINGS)
        for stem in ("a", "below/b"):
            done = again.find(out / stem, journal.checksum(image), FORMATS)
            lost += done is None
            if done is None:
                continue
            assert set(done.files) >= {f"{stem[-1]}{each.ending}" for each in FORMATS}
            assert isinstance(done.nuclei, int)
            entry = again.entry(done)
            if entry != ENTRY:
                with pytest.raises(ValueError, match=r"no entry of a report"):
                    Entry.restored("a", entry)
    assert 100 < lost < 1100


def test_settings_that_were_edited_are_other_settings(out, image, result):
    do(Journal(out, SETTINGS), out / "a", image, result)
    path = out / FOLDER / NAME
    path.write_bytes(path.read_bytes().replace(b'{"model":"0"}', b'{"model":"1"}'))
    assert found(out, out / "a", image) is None
    assert found(out, out / "a", image, {"model": "1"}) is None
