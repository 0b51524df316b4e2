"""Annotated images packed into one file."""

import numpy as np
import pytest

from training import data, pack, samples, train


@pytest.fixture(scope="module")
def folder(request):
    return request.path.parents[1] / "data"


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "all.npz"
    pack.main(["--data", f"{folder}=2.5", "--output", str(path)])
    return path


def test_what_is_packed_comes_back(folder, packed):
    expected, _ = data.load_split([folder])
    found, weights = samples.unpack(packed)
    assert weights == {"data": 2.5}
    assert len(found) == len(expected) > 2
    for before, after in zip(expected, found, strict=True):
        assert (after.name, after.modality, after.group) == (
            before.name,
            before.modality,
            before.group,
        )
        assert after.labels.dtype == np.int32
        np.testing.assert_array_equal(after.labels, before.labels)
        assert after.image.dtype == np.uint8
        # Channels in another order would be 10 levels and more off in a stained image.
        assert np.abs(after.image.astype(int) - before.image).mean() < 4


def test_as_many_nuclei_come_back_as_16_bits_count(tmp_path):
    labels = np.arange(65_536, dtype=np.int32).reshape(256, 256)
    image = np.zeros((256, 256, 3), np.uint8)
    path = tmp_path / "many.npz"
    samples.pack([samples.Sample("a/b", image, image, labels, "H&E", "a")], {}, path)
    np.testing.assert_array_equal(samples.unpack(path)[0][0].labels, labels)


def test_training_takes_a_packed_file_and_validates_with_nothing(packed):
    training, validation, weights = train.load([str(packed)])
    assert [one.name for one in training] == [one.name for one in samples.unpack(packed)[0]]
    assert validation == []
    assert weights == {"data": 2.5}


def halved(content):
    return content[: len(content) // 2]


def with_a_changed_byte(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [halved, with_a_changed_byte, lambda _: b"", lambda _: b"a text\n"]
)
def test_a_damaged_file_is_named(damage, packed, tmp_path):
    path = tmp_path / "damaged.npz"
    path.write_bytes(damage(packed.read_bytes()))
    with pytest.raises(ValueError, match=r"data: .*damaged\.npz is no file of training\.pack"):
        samples.unpack(path)
    with pytest.raises(SystemExit, match=r"--data: .*damaged\.npz is no file of training\.pack"):
        train.main(["--data", str(path), "--output", str(tmp_path / "run")])


def test_other_arrays_are_no_packed_file(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is no file of training\.pack"):
        samples.unpack(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is no file of training\.pack"):
        samples.unpack(path)


def test_what_cannot_be_packed_is_named(folder, tmp_path, capsys):
    for option, value, message in (
        ("--data", "nowhere", "no such folder: nowhere"),
        ("--output", "x.zip", "x.zip does not end with .npz"),
    ):
        arguments = {"--data": str(folder), "--output": str(tmp_path / "x.npz"), option: value}
        with pytest.raises(SystemExit):
            pack.main([f"{name}={text}" for name, text in arguments.items()])
        assert f"argument {option}: {message}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def opinions(packed):
    """Maps of noise, of every image."""
    random = np.random.default_rng(0)
    return {
        one.name: random.integers(0, 256, (*one.labels.shape, 2), np.uint8)
        for one in samples.unpack(packed)[0]
    }


def test_opinions_come_back_and_count_as_much_as_the_annotation(packed, opinions, tmp_path):
    path = tmp_path / "opinions.npz"
    samples.pack_opinions(opinions, path)
    training, _, _ = train.load([str(packed)], path)
    for alone, taught in zip(train.load([str(packed)])[0], training, strict=True):
        np.testing.assert_array_equal(taught.opinion, opinions[alone.name])
        expected, found = alone.targets(), taught.targets()
        np.testing.assert_array_equal(found.emphasis, expected.emphasis)
        for number, name in enumerate(("nucleus", "distance")):
            mean = (getattr(expected, name) / 2.0) + taught.opinion[..., number] / 2.0
            assert np.abs(getattr(found, name) - mean).max() <= 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda maps, name: maps.pop(name),
        lambda maps, name: maps.update({name: maps[name][:-1]}),
    ],
)
def test_opinions_of_other_images_are_refused(packed, opinions, tmp_path, change):
    changed = dict(opinions)
    change(changed, next(iter(changed)))
    path = tmp_path / "other.npz"
    samples.pack_opinions(changed, path)
    with pytest.raises(SystemExit, match="--opinions: "):
        train.main(
            ["--data", str(packed), "--output", str(tmp_path / "run"), "--opinions", str(path)]
        )


def test_a_text_holds_no_opinions(packed, tmp_path):
    path = tmp_path / "other.npz"
    path.write_text("maps")
    with pytest.raises(SystemExit, match=r"--opinions: .*other\.npz is no file of training\.opin"):
        train.main(
            ["--data", str(packed), "--output", str(tmp_path / "run"), "--opinions", str(path)]
        )
