"""Runs that are killed, interrupted or out of room, and those that go on from there."""

import errno
import functools
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from nucleiseg import Model, Segmenter, batch, images, journal
from nucleiseg.model import DEFAULT
from nucleiseg.outputs import FORMATS

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
GREY = EXAMPLES / "fluorescence_small.png"
COMMAND = [sys.executable, "-m", "nucleiseg", "segment"]
# Importing scverse's libraries takes longer than the runs; the other folder is Zarr's.
EVERY = ",".join(name for name in FORMATS if name not in ("anndata", "spatialdata"))
GO_ON = "the same command with --resume goes on from here"


def segment(*arguments):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def files(folder):
    """Every file below a folder, hidden ones too, but what records how it was made."""
    return [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name != journal.FOLDER
    ]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files(folder)}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in files(folder)}


def promised(folder):
    """The names of all files that are recorded as done, and of those in such folders."""
    known = journal.Journal(folder)
    names = {name for done in known._known.done.values() for name in done.files}
    return {name for name in content(folder) if name.split("/")[0] in names}


def edit(folder, kind, stem, change):
    """Change the values of the lines of a kind, of one stem, in the journal."""
    path = folder / journal.FOLDER / journal.NAME
    lines = path.read_text().split("\n")
    touched = 0
    for place, line in enumerate(lines):
        if line.startswith(f"{kind}\t{json.dumps(stem)}\t"):
            *start, value = line.split("\t")
            lines[place] = "\t".join([*start, json.dumps(change(json.loads(value)))])
            touched += 1
    assert touched
    path.write_text("\n".join(lines))


def without_time(page):
    return re.sub(rb"(<dt>Written</dt><dd>)[^<]*", rb"\1", page)


def plate(folder, copies):
    """Copies of an image under other names, and a stack of planes among them."""
    folder.mkdir()
    for number in range(copies):
        shutil.copy(GREY, folder / f"{number}.png")
    grey = images.read(GREY)
    stack = np.stack([np.roll(grey, 20 * number, axis=0) for number in range(5)])
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(folder / "stack.tif", stack, **options)


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill_after(files, output, *arguments):
    """Run until there are so many files, and have no mercy then."""
    command = [*COMMAND, *map(str, arguments), "-o", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        wait_for(lambda: process.poll() is not None or len(list(output.glob("*_*"))) >= files)
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A folder of images, all options for it, and what a run makes of it that nothing disturbs."""
    folder = tmp_path_factory.mktemp("unbroken")
    plate(folder / "in", 12)
    options = (folder / "in", "--z", "all", "--save", EVERY, "--report")
    done = segment(*options, "-o", folder / "out")
    assert (done.returncode, done.stderr) == (0, "")
    return options, folder / "out"


def assert_same_files(found, expected):
    found, expected = content(found), content(expected)
    assert set(found) == set(expected)
    page = "report.html"
    assert without_time(found.pop(page)) == without_time(expected.pop(page))
    assert found == expected


@pytest.mark.parametrize("files", [1, 40, 100])
def test_a_run_that_is_killed_and_resumed_gives_what_an_unbroken_one_gives(
    tmp_path, unbroken, files
):
    options, expected = unbroken
    kill_after(files, tmp_path, *options)
    before = times(tmp_path)
    resumed = segment(*options, "-o", tmp_path, "--resume")
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert_same_files(tmp_path, expected)
    # What was done is not even touched.
    kept = [path for path, when in times(tmp_path).items() if before.get(path) == when]
    assert len(kept) >= (files - 5 * len(FORMATS))


def test_many_kills_do_no_more_harm_than_one(tmp_path, unbroken):
    options, expected = unbroken
    for files in (20, 60, 110):
        kill_after(files, tmp_path, *options, "--resume")
    assert segment(*options, "-o", tmp_path, "--resume").returncode == 0
    assert_same_files(tmp_path, expected)


def test_what_a_kill_left_half_written_is_removed(tmp_path, unbroken):
    options, expected = unbroken
    shutil.copytree(expected, tmp_path, dirs_exist_ok=True)
    (tmp_path / f".{'0' * 32}.part").write_bytes(b"half")
    (tmp_path / ".mine.part").touch()
    assert segment(*options, "-o", tmp_path, "--resume").returncode == 0
    (tmp_path / ".mine.part").unlink()
    assert_same_files(tmp_path, expected)


def test_a_second_run_with_other_settings_in_the_same_folder_is_refused(tmp_path):
    settings = batch.settings(Segmenter(), {"scale": "auto", "stain": "auto"}, images.selection())
    with journal.Journal(tmp_path, settings).claimed():
        refused = segment(GREY, "-o", tmp_path, "--scale", 2)
        same = segment(GREY, "-o", tmp_path, "--save", "csv")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"nucleiseg: {tmp_path}: a run with other settings is at work there; accepted is "
        "another folder, or this one once that run has ended\n"
    )
    assert (same.returncode, same.stderr) == (0, "")
    assert set(content(tmp_path)) == {f"{GREY.stem}_nuclei.csv", "table.csv"}
    assert segment(GREY, "-o", tmp_path, "--scale", 2).returncode == 0


@pytest.fixture
def done(tmp_path):
    """Three images that were segmented into masks and tables."""
    (tmp_path / "in").mkdir()
    for name in "abc":
        shutil.copy(GREY, tmp_path / "in" / f"{name}.png")
    options = (tmp_path / "in", "-o", tmp_path / "out")
    assert segment(*options, "--save", "mask,csv").returncode == 0
    return tmp_path, options


def counted_before(finished):
    assert (finished.returncode, finished.stderr) == (0, "")
    found = re.match(r"3 images(?: \((\d) done before\))?, ", finished.stdout)
    return int(found[1] or 0)


def test_all_that_is_done_is_left_out(done):
    folder, options = done
    before = times(folder)
    assert counted_before(segment(*options, "--save", "mask,csv", "--resume")) == 3
    assert counted_before(segment(*options, "--save", "csv", "--resume")) == 3
    after = times(folder)
    # That of all images is written by every run.
    assert after.pop(folder / "out" / "table.csv") > before.pop(folder / "out" / "table.csv")
    assert after == before


def test_without_resume_everything_is_done_again(done):
    folder, options = done
    before = times(folder / "out")
    assert counted_before(segment(*options, "--save", "mask,csv")) == 0
    assert not {path for path, when in times(folder / "out").items() if before[path] == when}


def damage(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def spoil_unseen(path):
    """Change some pixels, and neither the size nor the time of the file."""
    image = images.read(path)
    image[0, :90] = 7
    before, data = path.stat(), cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    assert data.size <= before.st_size
    path.write_bytes(data.tobytes().ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("harm", "left"),
    [
        (lambda folder: damage(folder / "out" / "a_mask.png"), 2),
        (lambda folder: (folder / "out" / "b_nuclei.csv").unlink(), 2),
        (lambda folder: os.truncate(folder / "out" / "c_nuclei.csv", 100), 2),
        (lambda folder: shutil.copy(EXAMPLES / "brightfield_grey.png", folder / "in" / "a.png"), 2),
        (lambda folder: os.utime(folder / "in" / "a.png", (1, 1)), 3),
        (lambda folder: spoil_unseen(folder / "in" / "a.png"), 2),
        (lambda folder: edit(folder / "out", "done", "a", lambda value: [value]), 2),
        (lambda folder: edit(folder / "out", "done", "b", lambda value: {**value, "files": 7}), 2),
        (lambda folder: edit(folder / "out", "settings", "", lambda value: {}), 0),
    ],
)
def test_what_is_missing_or_changed_is_done_again(done, harm, left):
    folder, options = done
    expected = content(folder / "out")
    harm(folder)
    assert counted_before(segment(*options, "--save", "mask,csv", "--resume")) == left
    found = content(folder / "out")
    assert set(found) == set(expected)
    for name in ("b_mask.png", "b_nuclei.csv", "c_mask.png", "c_nuclei.csv"):
        assert found[name] == expected[name]


def test_without_the_journal_nothing_is_replaced(done):
    folder, options = done
    shutil.rmtree(folder / "out" / journal.FOLDER)
    before = times(folder)
    early = segment(*options, "--save", "mask,csv", "--resume")
    assert (early.returncode, early.stdout) == (2, "")  # for the table of all images
    assert "table.csv is there and no run made it; --overwrite replaces it" in early.stderr
    assert times(folder) == before
    (folder / "out" / "table.csv").unlink()
    before = times(folder)
    refused = segment(*options, "--save", "mask,csv", "--resume")
    assert (refused.returncode, refused.stdout) == (1, "3 images failed\n")
    assert refused.stderr.count("is there and no run made it; --overwrite replaces it\n") == 3
    assert times(folder) == before
    assert counted_before(segment(*options, "--save", "mask,csv", "--resume", "--overwrite")) == 0
    assert counted_before(segment(*options, "--save", "mask,csv", "--resume")) == 3


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (("--save", "mask,csv,labels"), 0),
        (("--save", "mask,csv", "--scale", 0.5), 0),
        (("--save", "mask,csv", "--mpp", 0.64), 0),
        (("--save", "mask,csv", "--report"), 0),
        (("--save", "mask,csv", "--threads", 1, "--jobs", 1), 3),
    ],
)
def test_other_settings_are_other_work(done, change, left):
    _, options = done
    assert counted_before(segment(*options, *change, "--resume")) == left
    assert counted_before(segment(*options, *change, "--resume")) == 3


def other_model(folder, change):
    """Copy the default model with a changed description."""
    for suffix in (".onnx", ".json"):
        shutil.copy(Model.load().path.with_suffix(suffix), folder / f"mine{suffix}")
    description = json.loads((folder / "mine.json").read_text())
    change(description)
    (folder / "mine.json").write_text(json.dumps(description))
    return folder / "mine.onnx"


def test_another_description_of_the_same_network_is_other_work(done):
    folder, options = done
    model = other_model(folder, lambda it: it["decoding"].update(nucleus_threshold=170))
    again = segment(*options, "--save", "mask,csv", "--resume", "--model", model)
    assert counted_before(again) == 0


@pytest.mark.parametrize(
    "what",
    [
        ("decoders", "readers"),
        ("decoders", "tifffile"),
        ("decoders", "imagecodecs"),
        ("decoders", "opencv-python-headless"),
        ("model", "sha256"),
        ("description",),
        ("arithmetic",),
        ("nucleiseg",),
    ],
)
def test_what_decides_a_result_belongs_to_the_settings(tmp_path, what):
    segmenter = Segmenter()
    settings = batch.settings(segmenter, {"scale": "auto"}, images.selection())
    stem, image = tmp_path / "a", tmp_path / "image.png"
    image.touch()
    kept = journal.Journal(tmp_path, settings)
    kept.begin(stem, [])
    kept.finish(stem, journal.checksum(image), [], 1, "", None)
    assert journal.Journal(tmp_path, settings).find(stem, journal.checksum(image), [])
    *path, last = what
    inner = functools.reduce(dict.__getitem__, path, settings)
    assert inner[last]
    inner[last] = "another"
    assert not journal.Journal(tmp_path, settings).find(stem, journal.checksum(image), [])


def test_the_default_model_by_its_name_or_path_is_the_same_work(done):
    folder, options = done
    for suffix in (".onnx", ".json"):
        shutil.copy(Model.load().path.with_suffix(suffix), folder / f"mine{suffix}")
    for model in (DEFAULT, folder / "mine.onnx"):
        again = segment(*options, "--save", "mask,csv", "--resume", "--model", model)
        assert counted_before(again) == 3


def test_formats_of_several_runs_are_known_together(done):
    _, options = done
    assert counted_before(segment(*options, "--save", "labels")) == 0
    assert counted_before(segment(*options, "--save", "mask,csv,labels", "--resume")) == 3


def test_an_image_that_is_new_is_done_and_the_others_are_not(done):
    folder, options = done
    shutil.copy(GREY, folder / "in" / "d.png")
    finished = segment(*options, "--save", "mask,csv", "--resume")
    assert finished.stdout.startswith("4 images (3 done before), ")
    assert (folder / "out" / "d_mask.png").exists()


def test_a_failure_is_tried_again(done):
    folder, options = done
    (folder / "in" / "d.png").touch()
    for _ in range(2):
        finished = segment(*options, "--save", "mask,csv", "--resume")
        assert finished.returncode == 1
        assert finished.stderr == f"{folder / 'in' / 'd.png'}: is empty\n"
        assert finished.stdout.startswith("3 images (3 done before, 1 failed), ")


def test_planes_that_are_done_are_not_read_again(tmp_path):
    plate(tmp_path / "in", 0)
    options = (tmp_path / "in", "-o", tmp_path / "out", "--z", "all", "--save", "mask")
    assert segment(*options).returncode == 0
    expected = content(tmp_path / "out")
    (tmp_path / "out" / "stack_z003_mask.png").unlink()
    before = times(tmp_path / "out")
    assert segment(*options, "--resume").stdout.startswith("1 image, ")
    assert content(tmp_path / "out") == expected
    written = {
        path.name for path, when in times(tmp_path / "out").items() if before.get(path) != when
    }
    assert written == {"stack_z003_mask.png"}


@pytest.mark.parametrize("place", ["in", "in/results"])
def test_outputs_among_the_images_are_not_taken_for_images(tmp_path, place):
    plate(tmp_path / "in", 6)
    options = (tmp_path / "in", "--z", "all", "--save", "mask,labels,tiff")
    assert segment(*options, "-o", tmp_path / "elsewhere").stdout.startswith("7 images, ")
    # Four planes of three files each may be unfinished: eight files are of planes that are done.
    kill_after(20, tmp_path / place, *options)
    for _ in range(2):
        resumed = segment(*options, "-o", tmp_path / place, "--resume")
        assert (resumed.returncode, resumed.stderr) == (0, "")
        assert resumed.stdout.startswith("7 images (")
    for name in content(tmp_path / "elsewhere"):
        assert (tmp_path / place / name).read_bytes() == (
            tmp_path / "elsewhere" / name
        ).read_bytes()
    again = segment(tmp_path / place / "0_mask.png", "-o", tmp_path / "other", "--save", "mask")
    assert again.returncode == 0  # by its name it is an image like any other


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_how_to_go_on_and_that_is_so(tmp_path, unbroken, stop):
    options, expected = unbroken
    command = [*COMMAND, *map(str, options), "-o", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(list(tmp_path.glob("*_*"))) > 90)
        process.send_signal(stop)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    found = re.fullmatch(rf"nucleiseg: interrupted after (\d+) of 13 images; {GO_ON}\n", said)
    # Every file that is there is promised by a record, and none is half of one.
    assert not list(tmp_path.rglob(".*.part"))
    assert promised(tmp_path) == set(content(tmp_path))
    resumed = segment(*options, "-o", tmp_path, "--resume")
    # Those at hand were finished after that was counted.
    assert int(re.search(r"(\d+) done before", resumed.stdout)[1]) >= int(found[1])
    assert_same_files(tmp_path, expected)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB: not enough for all of the plate, and enough for some of it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def enlarge(disk):
    subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)


def test_a_full_disk_ends_the_run_and_loses_nothing(small_disk, unbroken):
    options, expected = unbroken
    out = small_disk / "out"
    full = segment(*options, "-o", out)
    assert full.returncode == 1
    *failures, last = full.stderr.splitlines()
    assert re.fullmatch(rf"nucleiseg: the disk is full, \d+ images not begun; {GO_ON}", last)
    reason = os.strerror(errno.ENOSPC)
    # Those at hand, the files of all images together, and the page.
    assert 1 <= len(failures) <= 6, full.stderr
    assert all(line.endswith(reason) or reason in line for line in failures)
    whole = content(expected)
    assert promised(out)
    for name in promised(out):
        assert (out / name).read_bytes() == whole[name]
    assert not list(out.rglob(".*.part"))
    enlarge(small_disk)
    assert segment(*options, "-o", out, "--resume").returncode == 0
    assert_same_files(out, expected)


EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: {**entry, "thumbnail": "https://example.org/x.png"},
        lambda entry: {**entry, "thumbnail": entry["thumbnail"] + '"onerror="x'},
        lambda entry: {**entry, "dtype": EVIL},
        lambda entry: {**entry, "nuclei": EVIL},
        lambda entry: {**entry, "height": 10**400},
        lambda entry: {**entry, "mpp": -1},
        lambda entry: {**entry, "diameters": [float("nan")]},
        lambda entry: {**entry, "intensities": entry["intensities"][1:]},
        lambda entry: {**entry, "flags": [{"name": EVIL}]},
        lambda entry: {**entry, "size": [0, 5]},
        lambda entry: {**entry, "more": 1},
        lambda entry: {name: value for name, value in entry.items() if name != "blur"},
        lambda entry: [entry],
    ],
)
def test_a_damaged_entry_of_the_report_is_made_again(tmp_path, change):
    options = (GREY, "-o", tmp_path, "--save", "mask", "--report")
    assert segment(*options).returncode == 0
    expected = without_time((tmp_path / "report.html").read_bytes())
    edit(tmp_path, "entry", GREY.stem, change)
    again = segment(*options, "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert "done before" not in again.stdout
    assert without_time((tmp_path / "report.html").read_bytes()) == expected


def test_markup_of_others_in_the_journal_is_escaped(tmp_path):
    options = (GREY, "-o", tmp_path, "--save", "mask", "--report")
    assert segment(*options).returncode == 0
    edit(tmp_path, "entry", GREY.stem, lambda it: {**it, "flags": [{"name": EVIL, "reason": EVIL}]})
    again = segment(*options, "--resume")
    assert "1 done before" in again.stdout
    page = (tmp_path / "report.html").read_text()
    assert EVIL not in page
    assert page.count("&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") >= 3


def fill(disk, left):
    """Leave so many bytes, in whole pages."""
    room = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(room.f_bavail * room.f_bsize - left))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_that_the_disk_is_full(small_disk, name):
    fill(small_disk, 4096)  # for the record and less than any of these files
    out = small_disk / "out"
    full = segment(EXAMPLES / "purple_on_white.png", "-o", out, "--save", name)
    assert full.returncode == 1
    assert full.stderr == f"{EXAMPLES / 'purple_on_white.png'}: No space left on device\n"
    assert content(out) == {}
    assert not list(out.rglob(".*.part"))


def test_one_job_at_a_time_gives_the_same_files(tmp_path, unbroken):
    options, expected = unbroken
    assert segment(*options, "-o", tmp_path, "--jobs", 1).returncode == 0
    assert_same_files(tmp_path, expected)


@pytest.mark.parametrize("jobs", [0, -3])
def test_no_jobs_at_all_cannot_be_asked_for(tmp_path, jobs):
    refused = segment(GREY, "-o", tmp_path / "out", "--jobs", jobs)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"nucleiseg: jobs: got {jobs}; accepted is 1 or more\n"


def test_progress_has_a_rate_and_the_time_left(tmp_path):
    plate(tmp_path / "in", 60)
    command = [*COMMAND, str(tmp_path / "in"), "--z", "all", "-o", str(tmp_path / "out")]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as run:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 4096)
            except OSError:  # Linux ends a terminal that nobody writes to any more with an error
                break
        run.stdout.read()
    os.close(ours)
    assert run.returncode == 0
    plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown)
    assert re.search(rb"\d+/61 [\d.]+ images/s 0:00:\d\d", plain)
