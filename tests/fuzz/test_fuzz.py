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


@pytest.mark.parametrize("files", [formats.corpus()], ids=["corpus"])
def test_what_was_once_a_crash_a_hang_or_a_wrong_picture_is_none(files):
    report = run.fuzz("corpus", len(files))
    assert not report.offenders, {
        next(iter(files[index])): words for index, words in report.offenders.items()
    }


# What a harness must notice is done by a format that does it on purpose.
@pytest.mark.parametrize(
    ("index", "kind"), [(0, "crash"), (1, "hang"), (2, "error"), (3, "differ"), (4, "slow")]
)
def test_each_kind_of_offender_is_noticed(index, kind):
    report = run.fuzz("faulty", 6)
    assert report.offenders[index].startswith(kind)
    assert report.counts["read"] == 1
