"""Changed files of every format: each is read alike twice, or refused with a sentence."""

import pkgutil
from importlib import import_module
from pathlib import Path

import formats
import pytest
import run

from nucleiseg import readers

FILES = 200
SILENT = ("png", "jpeg")
"""Formats whose usual libraries write warnings to stderr, without the file's name."""


@pytest.mark.parametrize("name", run.NAMES)
def test_changed_inputs_are_read_alike_twice_or_refused(name):
    if words := run.missing(name):
        pytest.skip(words)
    report = run.fuzz(name, FILES)
    assert not report.offenders, report.offenders
    assert report.counts["read"] >= FILES / 50, "no changed file is read: the mutator is too wild"
    assert report.counts["refused"] >= FILES / 50, "no changed file is refused"
    if name in SILENT:
        assert not report.stderr


def test_no_format_that_is_read_is_left_out(tmp_path):
    names = [name for name in run.NAMES if name not in ("onnx", "json", run.NATIVE)]
    if words := [run.missing(name) for name in names if run.missing(name)]:
        pytest.skip(", ".join(words))
    openers, begins = set(), []
    for name in names:
        for number, files in enumerate(formats.seeds(name)):
            for file, data in files.items():
                path = tmp_path / name / str(number) / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            first, begin = next(iter(files.items()))
            openers.add(readers._opener(tmp_path / name / str(number) / Path(first).parts[0]))
            begins.append(begin)
    modules = [
        import_module(f"{readers.__name__}.{found.name}")
        for found in pkgutil.iter_modules(readers.__path__)
    ]
    assert openers == {each.opened for each in modules if hasattr(each, "opened")}
    for signature in readers._OPENERS:
        assert any(begin.startswith(signature) for begin in begins), signature


def test_what_was_once_a_crash_a_hang_or_a_wrong_picture_is_none():
    files = formats.corpus()
    report = run.fuzz("corpus", len(files))
    assert not report.offenders, {
        next(iter(files[index])): words for index, words in report.offenders.items()
    }


def test_each_kind_of_offender_is_noticed():
    """The format "faulty" does on purpose what no reader may."""
    report = run.fuzz("faulty", 6)
    kinds = [words.split(":")[0] for _, words in sorted(report.offenders.items())]
    assert kinds == ["crash", "hang", "error", "differ", "slow"]
    assert report.counts["read"] == 1
