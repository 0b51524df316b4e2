"""The second opinion of an earlier model."""

import contextlib

import numpy as np
import pytest

from nucleiseg import Model
from training import augment, batches, data, sampling, teacher, train
from training.teacher import Teacher

TURNS = np.arange(8)


@pytest.fixture(scope="module")
def shipped():
    return Teacher(Model.load().path)


@pytest.fixture(scope="module")
def crops(request):
    """One crop of each bundled image, its place changed and nothing else."""
    folder = request.path.parents[1] / "data"
    off = dict.fromkeys(
        ("restyle", "stain", "swap_channels", "tint", "lighting", "shading", "invert", "coarse"), 0
    )
    settings = augment.Settings(**off, blur=0, noise=0, jpeg=0, blank=0)
    found = []
    for sample in data.load([folder]):
        rng = np.random.default_rng(0)
        image, maps = augment.crop(
            augment.prepare(sample), np.empty((0, 2, 3), np.float32), rng, settings
        )
        found.append((sample, image, maps))
    return found


@pytest.mark.parametrize("turn", TURNS)
def test_a_turn_is_taken_back(turn):
    image = np.random.default_rng(0).random((6, 6, 2))
    np.testing.assert_array_equal(teacher._turned_back(teacher._turned(image, turn), turn), image)


def test_the_eight_turns_differ():
    image = np.arange(9).reshape(3, 3)
    assert len({teacher._turned(image, turn).tobytes() for turn in TURNS}) == 8


@pytest.mark.parametrize("diameter", [12.0, 40.0, np.nan])
def test_the_opinion_lies_where_the_nuclei_are(shipped, crops, diameter):
    for sample, image, maps in crops:
        opinion = shipped.opinion(image, diameter, np.random.default_rng(0))
        assert opinion.shape == (256, 256, 2)
        assert opinion.min() >= 0
        assert opinion.max() <= 1
        truth, found = maps[..., 0] > 127, opinion[..., 0] > 0.5
        dice = 2 * (truth & found).sum() / (truth.sum() + found.sum())
        assert dice > 0.65, sample.name
        turned = found[::-1]
        assert 2 * (truth & turned).sum() / (truth.sum() + turned.sum()) < dice
        assert np.corrcoef(opinion[..., 1].ravel(), maps[..., 1].ravel())[0, 1] > 0.7


def test_the_mean_of_looks_hardly_depends_on_how_the_crop_is_turned(shipped, crops):
    _, image, _ = crops[0]
    straight = shipped.opinion(image, 12.0, np.random.default_rng(0))
    for turn in TURNS:
        turned = np.ascontiguousarray(teacher._turned(image, turn))
        seen = shipped.opinion(turned, 12.0, np.random.default_rng(1))
        assert np.abs(teacher._turned_back(seen, turn) - straight).mean() < 0.03


def test_the_annotation_keeps_its_share_and_the_emphasis_is_left(shipped, crops):
    _, image, maps = crops[0]
    rngs = [np.random.default_rng(3), np.random.default_rng(3)]
    opinion = shipped.opinion(image, 12.0, rngs[0])
    both = shipped.beside(maps, image, 12.0, rngs[1])
    assert both.dtype == np.uint8
    np.testing.assert_array_equal(both[..., 2], maps[..., 2])
    expected = (1 - teacher.SHARE) * maps[..., :2] + teacher.SHARE * 255 * opinion
    assert np.abs(both[..., :2] - expected).max() <= 0.501


def test_batches_with_a_teacher_show_the_same_crops_and_do_not_depend_on_where_one_begins(
    shipped, request
):
    samples = data.load([request.path.parents[1] / "data"])
    chances = sampling.chances(samples)

    def batch(first, count, taught):
        source = batches.endless(samples, chances, 2, 0, first, teacher=taught)
        with contextlib.closing(source):
            return [next(source) for _ in range(count)]

    image, maps = batch(0, 2, shipped)[1]
    again, same_maps = batch(1, 1, shipped)[0]
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(maps, same_maps)
    assert not np.isin(maps[..., 0], (0, 255)).all()


def test_training_and_quantising_take_a_teacher_and_name_one_that_is_missing(tmp_path, capsys):
    missing = ["--data", str(tmp_path), "--output", str(tmp_path / "run"), "--teacher", "no.onnx"]
    with pytest.raises(SystemExit):
        train.parser().parse_args(missing)
    assert "argument --teacher: no such file: no.onnx" in capsys.readouterr().err
