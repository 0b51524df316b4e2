import contextlib
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import nucleiseg
from nucleiseg import images
from nucleiseg.outputs import FORMATS

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
GREY = EXAMPLES / "fluorescence_small.png"
COLOUR = EXAMPLES / "hematoxylin_eosin.png"
COMMAND = [sys.executable, "-m", "nucleiseg"]


def run(*arguments, **options):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def segment(*arguments, **options):
    return run("segment", *arguments, **options)


def files_below(folder):
    """All files but the records of what was done."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if ".nucleiseg/" not in name)


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter()


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """All example images through the command, and where the results are."""
    output = tmp_path_factory.mktemp("examples") / "out"
    done = segment(EXAMPLES, "--output", output, "--save", "mask,labels,overlay")
    return done, output


def test_every_image_gets_every_format(examples):
    done, output = examples
    assert (done.returncode, done.stderr) == (0, "")
    expected = [
        f"{image.stem}_{name}.png"
        for image in EXAMPLES.iterdir()
        for name in ("mask", "labels", "overlay")
    ]
    assert files_below(output) == sorted(expected)


def test_the_summary_is_one_line_that_counts_what_is_on_disk(examples):
    done, output = examples
    nuclei = sum(int(images.read(path).max()) for path in output.glob("*_labels.png"))
    pattern = (
        rf"7 images, {nuclei:,} nuclei, \d+\.\d Mpixel/s, "
        rf"masks, labels and overlays in {re.escape(str(output))}\n"
    )
    assert re.fullmatch(pattern, done.stdout)


@pytest.mark.parametrize("image", sorted(EXAMPLES.iterdir()), ids=lambda path: path.stem)
def test_the_files_hold_what_the_library_gives(examples, segmenter, image):
    _, output = examples
    mask = images.read(output / f"{image.stem}_mask.png")
    labels = images.read(output / f"{image.stem}_labels.png")
    np.testing.assert_array_equal(mask, np.where(segmenter.segment(image), 255, 0))
    np.testing.assert_array_equal(labels, segmenter.segment(image, "labels"))


def test_masks_and_labels_are_the_default(tmp_path):
    done = segment(GREY, "-o", tmp_path / "out")
    assert done.returncode == 0
    assert done.stdout.startswith("1 image, ")
    assert files_below(tmp_path / "out") == [
        "fluorescence_small_labels.png",
        "fluorescence_small_mask.png",
    ]


def test_sub_folders_and_equal_names_are_kept_apart(tmp_path):
    for name in ("a/1.png", "b/1.png", "b/2.png"):
        (tmp_path / "plate" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(GREY, tmp_path / "plate" / name)
    (tmp_path / "plate" / "b" / "2.tif").write_bytes(COLOUR.read_bytes())
    done = segment(tmp_path / "plate", "-o", tmp_path / "out", "--save", "mask")
    assert done.returncode == 0
    assert files_below(tmp_path / "out") == [
        "a/1_mask.png",
        "b/1_mask.png",
        "b/2.png_mask.png",
        "b/2.tif_mask.png",
    ]


def test_formats_hold_what_the_library_gives(segmenter, tmp_path):
    done = segment(COLOUR, "-o", tmp_path / "out", "--save", ",".join(FORMATS), "--mpp", "0.5")
    # Half a micrometre a pixel is not true of this image, as its nuclei show.
    words = f"nucleiseg: 1 image is worth a second look: {COLOUR} (unusual size)\n"
    assert (done.returncode, done.stderr) == (0, words)
    written = segmenter.analyze(COLOUR, mpp=0.5).save(tmp_path / "library" / COLOUR.stem, FORMATS)
    library = written[0].parent
    files = [path for path in library.rglob("*") if path.is_file()]
    names = [path.relative_to(library).as_posix() for path in files]
    # These are a run's, with its single image.
    together = {each.combined.name for each in FORMATS.values() if each.combined}
    assert files_below(tmp_path / "out") == sorted([*names, *together])
    for name, path in zip(names, files, strict=True):
        assert (tmp_path / "out" / name).read_bytes() == path.read_bytes()


def test_a_format_whose_package_is_missing_cannot_start(tmp_path):
    (tmp_path / "roifile.py").write_text("raise ModuleNotFoundError(name='roifile')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = segment(GREY, "-o", tmp_path / "out", "--save", "mask,rois", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nucleiseg: --save: the package roifile is needed for that: pip")
    assert not (tmp_path / "out").exists()


def test_threads_change_nothing(examples, tmp_path):
    _, output = examples
    assert segment(EXAMPLES, "-o", tmp_path, "--threads", 1).returncode == 0
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes() == (output / path.name).read_bytes()


@pytest.fixture
def some_bad(tmp_path):
    """Two good images among three that are none."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(GREY, folder / "1.png")
    (folder / "2.png").write_bytes(GREY.read_bytes()[:9000])
    (folder / "3.jpg").write_text("not an image")
    shutil.copy(COLOUR, folder / "4.png")
    (folder / "5.tif").touch()
    return folder


def test_bad_files_are_listed_and_the_others_are_done(some_bad, tmp_path):
    done = segment(some_bad, "-o", tmp_path / "out", "--save", "mask")
    assert done.returncode == 1
    assert files_below(tmp_path / "out") == ["1_mask.png", "4_mask.png"]
    assert done.stdout.startswith("2 images (3 failed), ")
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{some_bad / '2.png'}: is truncated: 9,000 bytes")
    assert lines[1].startswith(f"{some_bad / '3.jpg'}: is not an image of a known format")
    assert lines[2] == f"{some_bad / '5.tif'}: is empty"


def test_pixels_that_cannot_be_segmented_are_listed(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "nan.tif", np.full((64, 64), np.nan, np.float32))
    done = segment(tmp_path / "nan.tif", GREY, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'nan.tif'}: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout.startswith("1 image (1 failed), ")


def limit_file_size():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_what_cannot_be_written_is_listed_and_nothing_is_half_written(tmp_path):
    done = segment(
        EXAMPLES, "-o", tmp_path / "out", "--save", "overlay,mask", preexec_fn=limit_file_size
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 7
    assert all(": File too large" in line for line in lines)
    assert files_below(tmp_path / "out") == []


def limit_file_size_more():
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))


@pytest.mark.parametrize("name", FORMATS)
def test_a_disk_that_is_full_leaves_no_part_of_a_file(tmp_path, name):
    done = segment(GREY, "-o", tmp_path, "--save", name, preexec_fn=limit_file_size_more)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{GREY}: File too large"]
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/none.png", "-o", "{tmp}/out"], "{tmp}/none.png: no such file or folder"),
        (["{tmp}", "-o", "{tmp}/out"], "{tmp}: no images there; the suffixes looked for are .png"),
        (["{tmp}/*.png", "-o", "{tmp}/out"], "{tmp}/*.png: no images there"),
        ([GREY, "-o", "{tmp}/file"], "--output: {tmp}/file: no files can be written there"),
        ([GREY, "-o", "{tmp}/file/out"], "--output: {tmp}/file/out: no files can be written there"),
        ([GREY, "-o", "/proc/out"], "--output: /proc/out: no files can be written there"),
        ([GREY, "-o", "{tmp}/out", "--save", "table"], "--save: unknown format 'table'; accepted"),
        ([GREY, "-o", "{tmp}/out", "--threads", "0"], "threads: got 0; accepted is 1 or more"),
        ([GREY, "-o", "{tmp}/out", "--model", "{tmp}/none.onnx"], "model: cannot read {tmp}/none"),
        ([GREY, "-o", "{tmp}/out", "--model", "{tmp}/file"], "model: "),
        ([GREY, "-o", "{tmp}/out", "--model", "nuclei-slow"], "model: got 'nuclei-slow'; accepted"),
    ],
)
def test_what_cannot_start_is_one_sentence_and_writes_nothing(tmp_path, arguments, words):
    (tmp_path / "file").touch()
    done = segment(*(str(argument).format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"nucleiseg: {words.format(tmp=tmp_path)}")
    assert done.stderr.count("\n") == 1
    assert [path for path in files_below(tmp_path) if path.endswith(".png")] == []


@pytest.mark.parametrize(
    "arguments", [["segment"], ["segment", GREY, "--device", "tpu"], ["sgment"]]
)
def test_wrong_usage_has_exit_code_2(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_results_beside_the_images_are_never_taken_for_images(tmp_path):
    shutil.copy(GREY, tmp_path / "a.png")
    for _ in range(2):
        done = segment(tmp_path, "-o", tmp_path, "--save", "mask")
        assert done.stdout.startswith("1 image, ")
    before = (tmp_path / "a_mask.png").read_bytes()
    shutil.rmtree(tmp_path / ".nucleiseg")
    unknown = segment(tmp_path, "-o", tmp_path, "--save", "mask")
    assert unknown.returncode == 2
    assert "a_mask.png is one of the images and would be overwritten" in unknown.stderr
    assert (tmp_path / "a_mask.png").read_bytes() == before


def test_results_in_another_folder_are_never_taken_for_images(tmp_path):
    shutil.copy(GREY, tmp_path / "a.png")
    for day in ("monday", "tuesday", "tuesday/again"):
        for path in (tmp_path, tmp_path / "*", tmp_path / "**" / "*.png"):
            done = segment(path, "-o", tmp_path / day, "--save", ",".join(FORMATS))
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith("1 image, ")
    done = segment(tmp_path / "monday", "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    words = "no images there, only results of earlier runs"
    assert done.stderr == f"nucleiseg: {tmp_path / 'monday'}: {words}\n"


def test_what_is_left_out_is_said(tmp_path):
    shutil.copy(GREY, tmp_path / "a.png")
    (tmp_path / "b.mrxs").touch()
    done = segment(tmp_path, "-o", tmp_path, "--save", "mask")
    assert done.returncode == 0
    assert done.stderr == (
        "nucleiseg: left out 1 .mrxs (MIRAX slides), which are not read; "
        "export them as OME-TIFF or PNG, for example with QuPath or Fiji\n"
    )
    done = segment(*tmp_path.glob("*.png"), "-o", tmp_path / "out", "--save", "mask")
    assert done.returncode == 0
    assert done.stderr == "nucleiseg: left out 1 of the files named: results of earlier runs\n"
    assert files_below(tmp_path / "out") == ["a_mask.png"]


def test_a_slide_that_cannot_be_read_is_told_what_to_do(tmp_path):
    (tmp_path / "b.mrxs").write_text("not an image")
    done = segment(tmp_path / "b.mrxs", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'b.mrxs'}: is not an image of a known format; ")
    assert "; MIRAX slides are not read: export them as OME-TIFF" in done.stderr


def test_a_run_of_which_all_failed_does_not_speak_of_results(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    for arguments, words in (([tmp_path], "2 images"), ([tmp_path / "a.png"], "1 image")):
        done = segment(*arguments, "-o", tmp_path / "out")
        assert (done.returncode, done.stdout) == (1, f"{words} failed\n")


def test_a_gpu_is_asked_for_by_either_name(tmp_path):
    asked = [segment(GREY, "-o", tmp_path, "--device", name) for name in ("cuda", "gpu")]
    assert asked[0].returncode == asked[1].returncode
    if asked[0].returncode:
        assert asked[1].stderr.startswith("nucleiseg: device: 'gpu' was asked for, but ")
        assert asked[0].stderr == asked[1].stderr.replace("'gpu'", "'cuda'")
        for name in ("cuda", "gpu"):
            with pytest.raises(RuntimeError, match=f"device: '{name}' was asked for, but"):
                nucleiseg.Segmenter(device=name)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_whole_files_and_no_traceback(tmp_path, stop):
    (tmp_path / "in").mkdir()
    for index in range(400):
        shutil.copy(EXAMPLES / "fluorescence_wide.png", tmp_path / "in" / f"{index}.png")
    output = tmp_path / "out"
    command = [*COMMAND, "segment", str(tmp_path / "in"), "-o", str(output)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not list(output.glob("*.png")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(stop)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert re.fullmatch(r"nucleiseg: interrupted after \d+ of 400 images; [^\n]+\n", stderr)
    written = files_below(output)
    assert 0 < len(written) < 800
    for name in written:
        assert images.read(output / name).shape == (520, 696)


@pytest.mark.parametrize("pause", [0, 0.02])
def test_repeated_interruptions_end_the_command_at_once_in_the_same_way(tmp_path, pause):
    """From its start on, whatever it is doing."""
    (tmp_path / "in").mkdir()
    for index in range(100):
        shutil.copy(EXAMPLES / "fluorescence_wide.png", tmp_path / "in" / f"{index}.png")
    command = [*COMMAND, "segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    for begun in ("out", "out/0_mask.png"):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while not (tmp_path / begun).exists() and process.poll() is None:
                time.sleep(0.01)
            while process.poll() is None:
                process.send_signal(signal.SIGINT)
                time.sleep(pause)
            _, stderr = process.communicate(timeout=300)
        assert process.returncode == 130, stderr
        assert "Traceback" not in stderr
        shutil.rmtree(tmp_path / "out")


def everything_from(terminal):
    shown = b""
    # Linux ends a terminal that nobody writes to any more with an error.
    with contextlib.suppress(OSError):
        while chunk := os.read(terminal, 4096):
            shown += chunk
    return shown


def test_progress_shows_on_a_terminal_only(tmp_path):
    command = [*COMMAND, "segment", str(EXAMPLES), "-o", str(tmp_path)]
    ours, theirs = pty.openpty()
    terminal = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=terminal) as process:
        os.close(theirs)
        shown = everything_from(ours)
        stdout = process.stdout.read()
    os.close(ours)
    assert process.returncode == 0
    assert b"7/7" in shown
    assert stdout.count(b"\n") == 1


def test_the_version_is_printed():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"nucleiseg {nucleiseg.__version__}\n")


def test_help_names_every_command_and_loads_no_engine():
    code = "import sys, nucleiseg.cli; print({'onnx', 'cv2', 'tifffile'} & set(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "set()\n"
    shown = run("--help").stdout
    assert "segment" in shown
    assert "doctor" in shown


def test_images_worth_a_second_look_are_named_also_when_they_were_done_before(tmp_path):
    image = images.read(EXAMPLES / "fluorescence_small.png")
    blank = np.random.default_rng(0).normal(243, 2, (99, 99, 3)).round().astype(np.uint8)
    spoilt = image.astype(np.uint16) * 8
    spoilt[:9, :9] = 65535
    for name, array in (("blank", blank), ("plain", image), ("spoilt", spoilt)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), array)
    for options in ([], ["--resume"]):
        done = run("segment", str(tmp_path), "--output", str(tmp_path / "out"), *options)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        blank_words = re.escape(f"{tmp_path}/blank.png (nothing in it stands out from its noise)")
        spoilt_words = re.escape(f"{tmp_path}/spoilt.png (0.12% of its values are far beyond")
        start = "nucleiseg: 2 images are worth a second look: "
        assert re.fullmatch(rf"{start}{blank_words}; {spoilt_words}[^;]+\)", line)


def test_of_many_images_worth_a_second_look_ten_are_named(tmp_path):
    for number in range(12):
        images.write_png(tmp_path / f"{number}.png", np.zeros((40, 40), np.uint8))
    for options, rest in (
        ([], "--report shows all"),
        (["--report"], f"{tmp_path}/out/report.html"),
    ):
        done = run("segment", str(tmp_path), "--output", str(tmp_path / "out"), *options)
        (line,) = done.stderr.splitlines()
        assert line.startswith("nucleiseg: 12 images are worth a second look: ")
        assert [f"{number}.png (" in line for number in (0, 9, 10, 11)] == [
            True,
            True,
            False,
            False,
        ]
        assert line.endswith(f"; 2 more ({rest})")


@pytest.mark.parametrize(
    ("package", "install"),
    [("jinja2", "'nucleiseg[report]'"), ("cv2", "opencv-python-headless")],
)
def test_a_report_without_its_packages_cannot_start(tmp_path, package, install):
    environment = without(package, tmp_path)
    done = segment(GREY, "-o", tmp_path / "out", "--report", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"nucleiseg: the package {package} is needed for that: pip install {install}\n"
    )
    done = segment(GREY, "-o", tmp_path / "out", "--save", "mask,overlay", env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_slide_without_opencv_cannot_start(tmp_path):
    done = run("slide", GREY, "-o", tmp_path / "out", env=without("cv2", tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "nucleiseg: the package cv2 is needed for that: pip install opencv-python-headless\n"
    )


def without(package, folder):
    """The environment of a process to which a package is not installed."""
    (folder / f"{package}.py").write_text(f"raise ModuleNotFoundError(name='{package}')")
    return {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


def test_files_that_no_run_made_are_not_replaced_unless_asked(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "in").mkdir()
    for name in "ab":
        shutil.copy(GREY, tmp_path / "in" / f"{name}.png")
    by_hand = tmp_path / "out" / "a_labels.png"
    by_hand.write_bytes(b"drawn by hand")
    words = f"{by_hand} is there and no run made it; --overwrite replaces it"
    for options in ([], ["--resume"]):
        done = segment(tmp_path / "in", "-o", tmp_path / "out", *options)
        assert done.returncode == 1
        assert done.stderr == f"{tmp_path / 'in' / 'a.png'}: {words}\n"
        assert by_hand.read_bytes() == b"drawn by hand"
        assert files_below(tmp_path / "out") == ["a_labels.png", "b_labels.png", "b_mask.png"]
    assert segment(tmp_path / "in", "-o", tmp_path / "out", "--overwrite").returncode == 0
    assert images.read(by_hand).dtype == np.uint16
    # From now on it is a run's.
    assert segment(tmp_path / "in", "-o", tmp_path / "out").returncode == 0


def test_a_page_that_no_report_made_is_not_replaced_unless_asked(tmp_path):
    page = tmp_path / "report.html"
    page.write_text("mine")
    done = segment(GREY, "-o", tmp_path, "--report")
    assert (done.returncode, done.stdout) == (2, "")
    words = f"{page} is there and no run made it; --overwrite replaces it"
    assert done.stderr == f"nucleiseg: {words}\n"
    assert page.read_text() == "mine"
    assert segment(GREY, "-o", tmp_path, "--report", "--overwrite").returncode == 0
    assert segment(GREY, "-o", tmp_path, "--report").returncode == 0
    assert "Nuclei report" in page.read_text()


def test_the_process_ends_when_the_command_has(tmp_path):
    # A thread of a library that lives on would run, or abort, at the interpreter's own end.
    code = (
        "import atexit, sys; from nucleiseg import cli\n"
        "atexit.register(print, 'exit functions run')\n"
        "class Last:\n    def __del__(self): print('torn down')\n"
        "last = Last(); sys.argv = ['nucleiseg', *sys.argv[1:]]; cli.main()"
    )
    for arguments, status in ((["--version"], 0), (["segment", tmp_path / "none.png"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == status
        assert done.stdout.splitlines()[-1] == "exit functions run"


def test_a_full_standard_output_is_told():
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nucleiseg", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment,
        )
    assert done.returncode == 1
    assert done.stderr == "nucleiseg: standard output: No space left on device\n"
