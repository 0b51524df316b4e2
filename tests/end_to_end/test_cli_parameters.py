"""The parameters of `nucleiseg.Segmenter.segment` on the command line, and how it speaks."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nucleiseg
from nucleiseg import data, images

GREY = Path(__file__).parents[1] / "data" / "images" / "fluorescence_small.png"

PARAMETERS = {
    "nucleus_threshold": 0.4,
    "separation": 0.02,
    "min_area": 30.0,
    "min_diameter": 9.0,
    "max_diameter": 40.0,
    "exclude_border": True,
}


def segment(*arguments, **options):
    command = [sys.executable, "-m", "nucleiseg", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def written(**parameters):
    """The options of some parameters."""
    words = []
    for name, value in parameters.items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    return words


def test_the_files_hold_what_the_library_gives(tmp_path):
    formats = "mask,labels,csv,geojson,coco"
    options = ["--save", formats, *written(**PARAMETERS), "--smooth"]
    done = segment(GREY, "-o", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    result = nucleiseg.Segmenter().analyze(GREY, smooth=True, **PARAMETERS)
    assert 0 < len(result) < len(nucleiseg.Segmenter().analyze(GREY))
    for path in result.save(tmp_path / "library" / GREY.stem, formats):
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    output = tmp_path_factory.mktemp("done") / "out"
    assert segment(GREY, "-o", output, "--save", "labels").returncode == 0
    return output


def test_the_stain_belongs_to_what_a_run_was_made_with(done):
    common = (GREY, "-o", done, "--save", "labels", "--resume")
    segment(*common)
    assert "done before" not in segment(*common, "--stain", "dab").stdout
    assert "1 image (1 done before)" in segment(*common, "--stain", "dab").stdout
    assert "done before" not in segment(*common).stdout


@pytest.mark.parametrize("name", [*PARAMETERS, "smooth"])
def test_every_parameter_belongs_to_what_a_run_was_made_with(done, name):
    options = written(**{name: {**PARAMETERS, "smooth": True}[name]})
    common = (GREY, "-o", done, "--save", "labels", "--resume")
    assert "done before" not in segment(*common, *options).stdout
    assert "1 image (1 done before)" in segment(*common, *options).stdout
    assert "done before" not in segment(*common).stdout  # others again


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--nucleus-threshold", 2], "nucleus_threshold: got 2.0; accepted are numbers from 0 to"),
        (["--separation=-1"], "separation: got -1.0; accepted are numbers from 0 to 1"),
        (["--stain=ihc"], "stain: got 'ihc'; accepted are 'auto', 'he', 'dab', 'hem"),
        (["--min-area=-1"], "min_area: got -1.0; accepted are numbers of pixels from 0 up"),
        (["--min-diameter=9", "--max-diameter=8"], "min_diameter: got 9, above the max_diameter"),
        (["-v", "-q"], "--verbose and --quiet: got both; accepted is one of them"),
    ],
)
def test_a_bad_value_is_one_sentence_and_writes_nothing(tmp_path, options, words):
    found = segment(GREY, "-o", tmp_path / "out", *options)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"nucleiseg: {words}")
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_examples_go_to_a_folder_of_the_default_name(tmp_path):
    found = segment("--example", "--save", "labels", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("2 images, ")
    assert found.stdout.endswith("labels in nucleiseg_out\n")
    for name in data.EXAMPLES:
        labels = images.read(tmp_path / "nucleiseg_out" / f"{name}_labels.png")
        np.testing.assert_array_equal(labels, nucleiseg.segment(data.example(name), "labels"))


def test_paths_and_the_examples_are_not_taken_together(tmp_path):
    found = segment(GREY, "--example", cwd=tmp_path)
    assert found.returncode == 2
    assert "Invalid value for PATH, --example: got both; accepted is one of them" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_quiet_says_only_what_fails(tmp_path):
    (tmp_path / "in").mkdir()
    images.write_png(tmp_path / "in" / "blank.png", np.zeros((40, 40), np.uint8))
    (tmp_path / "in" / "slide.mrxs").touch()
    found = segment(tmp_path / "in", "-q", "-o", tmp_path / "out")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    (tmp_path / "in" / "bad.png").touch()
    found = segment(tmp_path / "in", "--quiet", "-o", tmp_path / "out")
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == f"{tmp_path / 'in' / 'bad.png'}: is empty\n"


def test_verbose_says_what_is_used_and_each_image(tmp_path):
    found = segment(GREY, "-v", "-o", tmp_path, "--device", "cpu", "--save", "labels")
    first, second = found.stderr.splitlines()
    assert first.startswith("nucleiseg: runs on the CPU with ")
    count = images.read(tmp_path / f"{GREY.stem}_labels.png").max()
    assert second == f"nucleiseg: {GREY}: {count} nuclei"


def test_files_are_kept_where_overwriting_is_not_wanted(tmp_path):
    by_hand = tmp_path / f"{GREY.stem}_labels.png"
    by_hand.write_bytes(b"drawn by hand")
    found = segment(GREY, "-o", tmp_path, "--overwrite", "--no-overwrite")
    assert found.returncode == 1
    assert by_hand.read_bytes() == b"drawn by hand"


def second_look(found):
    lines = [line for line in found.stderr.splitlines() if "worth a second look" in line]
    return lines[0] if lines else ""


def test_what_a_table_shows_is_told_without_a_report(tmp_path):
    """Nuclei of another size than the model is good at; without a table nothing is measured."""
    options = (GREY, "--scale", "0.3", "--resume", "-o", tmp_path)
    expected = f"nucleiseg: 1 image is worth a second look: {GREY} (unusual size)"
    for formats, line in (("labels", ""), ("csv", expected), ("csv", expected)):
        found = segment(*options, "--save", formats)
        assert found.returncode == 0
        assert second_look(found).split(", low")[0].rstrip(")") == line.rstrip(")")


def test_an_image_without_nuclei_is_told(tmp_path):
    found = segment(GREY, "--min-area", 10**6, "-o", tmp_path / "out")
    assert second_look(found).endswith(f"{GREY} (no nuclei)")


def test_the_report_names_the_parameters(tmp_path):
    pytest.importorskip("jinja2")
    found = segment(GREY, "-o", tmp_path, "--report", "--separation", 0.03, "--exclude-border")
    assert found.returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert "separation" in page
    assert "exclude_border" in page
    settings = (tmp_path / ".nucleiseg" / "journal").read_text().split("settings\t", 1)[1]
    value = json.loads(settings.split("\t", 1)[1].splitlines()[0])
    assert (value["separation"], value["exclude_border"]) == (0.03, True)


@pytest.mark.parametrize("command", ["segment", "slide"])
def test_help_is_in_groups_and_ends_with_examples(command):
    shown = subprocess.run(
        [sys.executable, "-m", "nucleiseg", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    groups = ["Arguments:", "Input:", "Nuclei:", "Output:", "Run:", "Examples:"]
    assert [shown.index(group) for group in groups] == sorted(map(shown.index, groups))
    for name in PARAMETERS:
        option = f"--{name.replace('_', '-')}"
        assert shown.index("Nuclei:") < shown.index(option) < shown.index("Output:")
    assert shown.rstrip().splitlines()[-1].startswith(f"    nucleiseg {command} ")
