"""Evaluation as a user runs it, on the example images with the shipped model."""

import contextlib
import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nucleiseg import Model, Segmenter, images
from nucleiseg.model import shipped
from training import data, evaluate, metrics, report, unet, weights, worst
from training.data import Sample

DATA = Path(__file__).parents[1] / "data"
DATASETS = {
    "dark": ["fluorescence_small", "fluorescence_crowded"],
    "stained": ["purple_on_violet", "hematoxylin_eosin"],
}


def copy(folder, stems):
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
        for stem in stems:
            shutil.copy(DATA / part / f"{stem}.png", folder / part)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return [copy(root / name, stems) for name, stems in DATASETS.items()]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Float weights that fit the network and find nothing sensible."""
    path = tmp_path_factory.mktemp("weights") / "untrained.npz"
    path.write_bytes(weights.pack(unet.build()))
    return path


@pytest.fixture(scope="module")
def output(folders, untrained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation") / "new"
    arguments = ["--data", *map(str, folders), "--all", "--output", str(folder)]
    evaluate.main([*arguments, "--weights", str(untrained)])
    return folder


@pytest.fixture(scope="module")
def scores(folders):
    """Scores by the name of the image, without `training.evaluate`."""
    segmenter = Segmenter()
    return {
        sample.name: metrics.score(sample.labels, segmenter.segment(sample.picture, "labels"))
        for sample in data.load(folders)
    }


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def chosen(scores, part):
    return [score for name, score in scores.items() if part in name]


def assert_figures(row, score):
    """Six digits are written."""
    assert int(row["nuclei"]) == score.nuclei
    assert int(row["found"]) == score.found
    assert int(row["merges"]) == score.merges
    assert int(row["splits"]) == score.splits
    assert float(row["dice"]) == pytest.approx(score.mean_dice, abs=1e-6)
    assert float(row["iou"]) == pytest.approx(score.mean_iou, abs=1e-6)
    assert float(row["aji"]) == pytest.approx(score.mean_aji, abs=1e-6)
    assert float(row["ap"]) == pytest.approx(score.mean_ap, abs=1e-6)
    assert float(row["f1"]) == pytest.approx(score.f1[0], abs=1e-6)
    assert float(row["pq"]) == pytest.approx(score.pq[0], abs=1e-6)
    for threshold, value in zip(metrics.IOU_THRESHOLDS, score.ap, strict=True):
        assert float(row[f"ap{100 * threshold:.0f}"]) == pytest.approx(value, abs=1e-6)


def test_every_file_appears_and_nothing_else(output):
    assert {path.name for path in output.iterdir()} == {
        "table.csv",
        "table.md",
        "images.csv",
        "worst",
    }
    assert len(list((output / "worst").iterdir())) == 4


def test_each_image_has_its_own_figures(output, scores):
    written = rows(output / "images.csv")
    assert [row["image"] for row in written] == sorted(scores)
    for row in written:
        assert_figures(row, scores[row["image"]])
        assert row["data_set"] == row["image"].split("/")[0]
    assert {row["modality"] for row in written} == {"fluorescence", "purple stain", "H&E"}


def test_each_group_has_the_figures_of_its_images(output, scores):
    written = {row["group"]: row for row in rows(output / "table.csv")}
    expected = {
        "all": ("all", list(scores.values())),
        "bright-field": ("modality", chosen(scores, "purple") + chosen(scores, "eosin")),
        "fluorescence": ("modality", chosen(scores, "fluorescence")),
        "purple stain": ("modality", chosen(scores, "purple")),
        "H&E": ("modality", chosen(scores, "eosin")),
        "dark": ("data set", chosen(scores, "dark/")),
        "stained": ("data set", chosen(scores, "stained/")),
    }
    assert list(written) == list(expected)
    for name, (kind, members) in expected.items():
        assert written[name]["kind"] == kind
        assert int(written[name]["images"]) == len(members)
        assert_figures(written[name], metrics.total(members))


def test_intervals_are_those_of_the_bootstrap(output, scores):
    written = {row["group"]: row for row in rows(output / "table.csv")}
    intervals = metrics.bootstrap(list(scores.values()))
    for name in ("dice", "ap50", "ap"):
        ends = [float(written["all"][f"{name}_{end}"]) for end in ("low", "high")]
        assert ends == pytest.approx(getattr(intervals, name), abs=1e-6)
        assert written["H&E"][f"{name}_low"] == ""  # one image has none


def test_the_markdown_holds_both_tables(output, scores):
    page = (output / "table.md").read_text()
    assert Model.load().checksum in page
    total = metrics.total(list(scores.values()))
    low, high = metrics.bootstrap(list(scores.values())).dice
    assert f"| all | 4 | {total.nuclei} | {total.mean_dice:.3f} [{low:.3f}, {high:.3f}] |" in page
    assert "Dice int8 | Dice float32 | Dice diff." in page
    for line in page.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_the_worst_images_come_first_with_both_outlines(output, scores):
    order = sorted(scores, key=lambda name: (scores[name].ap[0], scores[name].mean_dice))
    names = [f"{rank:02}_{name.replace('/', '_')}.png" for rank, name in enumerate(order, start=1)]
    paths = sorted((output / "worst").iterdir())
    assert [path.name for path in paths] == names
    for path in paths:
        picture = images.read(path)
        half = picture.shape[1] // 2
        for colour in (worst.TRUE, worst.FOUND):
            drawn = (picture == colour).all(axis=2)[: -4 * worst.LINE]
            assert drawn[:, half:].any()
            assert not drawn[:, : half - worst.GAP].any()


@pytest.fixture(scope="module")
def scored():
    """Gives the figures of the examples: their number, both networks' Dice, and its difference."""
    rows = {}

    def row(name):
        if name not in rows:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                evaluate.main([name, "--data", str(DATA), "--all", "--scale", "none"])
            *_, last = re.findall(r"^all .*", printed.getvalue(), re.MULTILINE)
            rows[name] = [float(word) for word in last.split()[1:5]]
        return rows[name]

    return row


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_file_is_scored_beside_the_float_weights_it_was_made_from(name, scored):
    count, int8, float32, difference = scored(name)
    assert count == 7
    assert int8 > 0.8
    assert difference == pytest.approx(int8 - float32, abs=2e-4)  # all three are rounded


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_file_scores_as_its_float_twin(name, scored):
    *_, difference = scored(name)
    assert abs(difference) < 0.02  # what rounding to eight bits may cost


def test_int8_alone_is_scored_where_the_float_weights_are_of_another_model(
    folders, tmp_path, capsys
):
    path = shutil.copy(Model.load().path, tmp_path / "other.onnx")
    description = json.loads(Model.load().path.with_suffix(".json").read_text())
    description["float_weights_sha256"] = "0123"
    path.with_suffix(".json").write_text(json.dumps(description))
    evaluate.main([str(path), "--data", str(folders[0]), "--all"])
    printed = capsys.readouterr().out
    assert re.search(r"^all +2 +140 +0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", printed, re.MULTILINE)
    assert re.search(r"float32 is left out: .*but other\.onnx was made from 0123", printed)
    assert "Dice float32" not in printed
    assert not re.search("^dark", printed, re.MULTILINE)  # the only data set is not repeated


def test_int8_alone_is_scored_where_no_float_weights_are_shipped(folders, tmp_path, capsys):
    path = shutil.copy(Model.load().path, tmp_path / "mine.onnx")
    description = json.loads(Model.load().path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**description, "name": "mine"}))
    evaluate.main([str(path), "--data", str(folders[0]), "--all"])
    printed = capsys.readouterr().out
    assert re.search(
        r"float32 is left out: cannot read .*mine\.npz .*weights of mine\.onnx", printed
    )
    assert "Dice float32" not in printed


def test_weights_of_another_network_are_refused(folders, tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, something=np.zeros(3))
    with pytest.raises(SystemExit, match="does not hold weights of a network in training/top"):
        evaluate.main(["--data", str(folders[0]), "--all", "--weights", str(path)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "argument --data: nowhere is not a folder"),
        (["--data", str(DATA / "images")], "none of the accepted layouts"),
        (["nothing.onnx", "--data", str(DATA)], "cannot read nothing.onnx"),
        (["nothing", "--data", str(DATA)], "model: got 'nothing'; accepted are 'nuclei"),
        (["--data", str(DATA), "--output", __file__], "no files can be written there"),
        (["--data", str(DATA), "--scale", "-1"], "accepted are auto, none and a number above 0"),
        (["--data", str(DATA), "--scale", "1000"], "accepted are scales of 0.25 to 32"),
        (["--data", str(DATA), "--scale", "big"], "accepted are auto, none and a number above 0"),
    ],
)
def test_a_bad_argument_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_with_nothing_held_out_says_so(tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--data", str(copy(tmp_path / "few", ["hematoxylin_eosin"]))])
    assert "no image of these folders is held out; --all takes every" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "passed"),
    [
        ([], {}),
        (["--scale", "auto"], {"scale": "auto"}),
        (["--scale", "none"], {"scale": 1.0}),
        (["--scale", "0.5"], {"scale": 0.5}),
    ],
)
def test_scale_reaches_the_segmenter_only_if_given(option, passed, folders, monkeypatch, capsys):
    calls = []

    class Blind:
        def __init__(self, model):
            pass

        def segment(self, picture, **settings):
            calls.append(settings)
            return np.zeros(picture.shape[:2], np.int32)

    def no_network(*_):
        raise evaluate.WeightsError("it is not at hand")

    monkeypatch.setattr(evaluate, "Segmenter", Blind)
    monkeypatch.setattr(evaluate, "float_labeller", no_network)
    evaluate.main(["--data", str(folders[0]), "--all", *option])
    assert calls == [{"output": "labels", **passed}] * 2
    resized = passed == {"scale": 0.5}
    reason = ". float32 sees images at their own size" if resized else ": it is not at hand"
    assert f"float32 is left out{reason}" in capsys.readouterr().out


def sample(name, shape=(40, 50), modality="fluorescence"):
    labels = np.zeros(shape, np.int32)
    labels[: shape[0] // 2, : shape[1] // 2] = 1
    picture = np.full((*shape, 3), 90, np.uint8)
    return Sample(name, picture, picture, labels, modality, name)


def test_groups_are_all_then_modalities_then_data_sets():
    samples = [sample("b/1", modality="H&E"), sample("a/1"), sample("b/2")]
    grouped = report.group(samples)
    assert [(one.kind, one.name, one.members) for one in grouped] == [
        ("all", "all", (0, 1, 2)),
        ("modality", "fluorescence", (1, 2)),
        ("modality", "H&E", (0,)),
        ("data set", "a", (1,)),
        ("data set", "b", (0, 2)),
    ]


def test_patients_organs_and_plates_have_rows_of_their_own():
    names = [
        "nuinsseg/human_lung_1",
        "tnbc/06_1",
        "nuinsseg/mouse_liver_1",
        "nuinsseg/human_lung_2",
    ]
    series = [one for one in report.group([sample(name) for name in names]) if one.kind == "series"]
    assert [(one.name, one.members) for one in series] == [
        ("nuinsseg/human_lung", (0, 3)),
        ("nuinsseg/mouse_liver", (2,)),
        ("tnbc/06", (1,)),
    ]


def test_stained_and_grey_images_are_bright_field_too():
    kinds = ["purple stain", "fluorescence", "H&E", "grey bright-field"]
    grouped = report.group([sample(f"a/{kind}", modality=kind) for kind in kinds])
    assert [(one.name, one.members) for one in grouped] == [
        ("all", (0, 1, 2, 3)),
        ("bright-field", (0, 2, 3)),
        ("fluorescence", (1,)),
        ("grey bright-field", (3,)),
        ("purple stain", (0,)),
        ("H&E", (2,)),
    ]


def test_pictures_of_an_earlier_run_go_and_other_files_stay(tmp_path):
    (tmp_path / "01_old.png").touch()
    (tmp_path / "notes.txt").touch()
    samples = [sample(f"a/{number}") for number in range(12)]
    results = [metrics.score(one.labels, one.labels) for one in samples]
    worst.write(tmp_path, samples, results, lambda one: one.labels)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 11
    assert names[0] == "01_a_0.png"
    assert names[-1] == "notes.txt"


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (1500, 1600)])
def test_a_picture_of_any_shape_can_be_drawn(shape):
    one = sample("somewhere/ein sehr langer Name mit Umlauten äöü " + 60 * "x", shape)
    drawn = worst.draw(one, one.labels, metrics.score(one.labels, one.labels))
    assert drawn.dtype == np.uint8
    assert drawn.shape[1] >= 2 * shape[1] + worst.GAP
    assert drawn.shape[0] > shape[0]
