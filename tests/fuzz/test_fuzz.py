"""Changed files of every format: each is read alike twice, or refused with a sentence."""

import formats
import pytest
import run

FILES = 200
SILENT = ("png", "jpeg")
"""Formats whose usual libraries write warnings to stderr, without the file's name."""


@pytest.mark.parametrize("name", run.NAMES)
def test_changed_inputs_are_read_alike_twice_or_refused(name):
    report = run.fuzz(name, FILES)
    assert not report.offenders, report.offenders
    assert report.counts["read"] >= FILES / 50, "no changed file is read: the mutator is too wild"
    assert report.counts["refused"] >= FILES / 50, "no changed file is refused"
    if name in SILENT:
        assert not report.stderr


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
