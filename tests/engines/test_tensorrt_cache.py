"""Engines on the disk: what is read, what is built again, and what is said of it."""

import contextlib
import json
import logging
import os
import pickle
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import needs
import pytest

from nucleiseg import Model, tensorrt
from nucleiseg import tensorrt_cache as cache

COMMAND = [sys.executable, "-m", "nucleiseg", "build", "--ahead-of-time"]
KEY = {"model": "a1", "library version": "1.7"}
CONTENT = bytes(range(256)) * 100


@pytest.fixture
def path(tmp_path):
    return tmp_path / "engines" / "nuclei.engine"


@pytest.fixture
def kept(path):
    assert cache.store(path, KEY, CONTENT)
    return path


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "nucleiseg")
    return lambda: [record.getMessage() for record in caplog.records]


def never():
    raise AssertionError("it was built again")


def get(path, key=KEY):
    """Return what is found or made, and how often it was made."""
    made = []
    content, _ = cache.load_or_make(path, key, lambda: made.append(1) or b"new")
    return content, len(made)


def test_what_was_written_is_read(kept, said):
    assert cache.load_or_make(kept, KEY, never) == (CONTENT, True)
    assert said() == []


def test_what_is_missing_is_made_once(path):
    assert get(path) == (b"new", 1)
    assert get(path) == (b"new", 0)


def test_folder_and_file_are_the_users_alone(kept):
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_another_version_is_built_again(kept, said):
    content, made = get(kept, {**KEY, "library version": "1.8"})
    assert (content, made) == (b"new", 1)
    assert said() == [f"{kept} is not used and made again: its library version is 1.7, not 1.8"]
    assert cache.load(kept, {**KEY, "library version": "1.8"}) == b"new"


@pytest.mark.parametrize("left", [0, 10, 40, 5_000])
def test_a_truncated_file_is_built_again(kept, said, left):
    kept.write_bytes(kept.read_bytes()[:left])
    assert get(kept) == (b"new", 1)
    assert len(said()) == 1
    assert said()[0].startswith(f"{kept} is not used and made again: ")
    assert get(kept) == (b"new", 0)


def test_a_changed_byte_is_noticed(kept, said):
    damaged = bytearray(kept.read_bytes())
    damaged[-1] ^= 1
    kept.write_bytes(damaged)
    assert get(kept) == (b"new", 1)
    assert said() == [f"{kept} is not used and made again: its checksum is wrong"]


def test_files_of_others_are_not_read(kept, said):
    """Root owns what a user must not trust; where root runs this, another user does."""
    if os.geteuid():
        foreign, owner = Path("/etc/passwd"), 0
    else:
        foreign, owner = kept, 65_534
        os.chown(kept, owner, owner)
    assert cache.load(foreign, KEY) is None
    assert f"it belongs to user {owner}, not to" in said()[0]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_files_that_others_may_write_are_not_read(kept, said, mode):
    kept.chmod(mode)
    assert get(kept) == (b"new", 1)
    assert said() == [
        f"{kept} is not used and made again: others may write it (mode {mode:o}; 600 is safe)"
    ]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_links_folders_and_pipes_are_not_read(kept, said):
    link, folder, pipe = (kept.with_name(name) for name in ("link", "folder", "pipe"))
    link.symlink_to(kept)
    folder.mkdir()
    os.mkfifo(pipe)
    for path in (link, folder, pipe):
        assert cache.load(path, KEY) is None
        assert re.search("cannot be opened|no regular file", said()[-1])
    assert len(said()) == 3


def test_what_others_wrote_is_never_unpickled_nor_run(kept, said):
    kept.write_bytes(pickle.dumps("no engine"))
    assert cache.load(kept, KEY) is None
    assert "it is no engine file" in said()[0]


@pytest.mark.parametrize(
    "header", [b"", b"[]", b"7", b"{}", b"\xff\xfe", b'{"bytes": 1}', b"[" * 10**5]
)
def test_a_description_that_is_none_is_refused(kept, header, said):
    magic = kept.read_bytes().split(b"\n")[0]
    kept.write_bytes(magic + b"\n" + header + b"\n" + CONTENT)
    assert cache.load(kept, KEY) is None
    assert "its description is damaged" in said()[0]


def test_a_folder_that_cannot_be_written_is_named_each_time(said):
    """Not even root makes folders in /proc."""
    path = Path("/proc/nucleiseg/engines/nuclei.engine")
    for count in (1, 2):
        assert get(path) == (b"new", 1)
        assert len(said()) == count
        assert "cannot keep an engine in /proc/nucleiseg/engines" in said()[-1]
        assert "XDG_CACHE_HOME" in said()[-1]


def test_errors_of_the_build_are_passed_on_and_leave_nothing(path):
    def fail():
        raise OSError("no space for the build")

    with pytest.raises(OSError, match="no space for the build"):
        cache.load_or_make(path, KEY, fail)
    assert [each.name for each in path.parent.iterdir()] == [f".{path.name}.lock"]


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "nucleiseg" / "engines"
    for unset in ("", "relative/path"):  # the specification says to ignore what is not absolute
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache.default_folder() == Path.home() / ".cache" / "nucleiseg" / "engines"


def in_another_process(path, name):
    """Ask for a file whose making takes a while, and leaves a trace."""
    code = f"""
import pathlib, time
from nucleiseg import tensorrt_cache as cache
path = pathlib.Path({str(path)!r})
content = bytes(range(256)) * 100
def make():
    pathlib.Path({str(path.parent.parent)!r}, "made_{name}").touch()
    time.sleep(1)
    return content
assert cache.load_or_make(path, {KEY!r}, make) == (content, True)
"""
    return subprocess.Popen([sys.executable, "-c", code])


def test_of_two_processes_one_builds(path):
    path.parent.mkdir()
    processes = [in_another_process(path, name) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(list(path.parent.parent.glob("made_*"))) == 1
    assert cache.load(path, KEY) == CONTENT


def test_a_process_that_is_killed_leaves_no_half_file_and_no_lock(path):
    path.parent.mkdir()
    process = in_another_process(path, "killed")
    while not (path.parent.parent / "made_killed").exists():
        assert process.poll() is None
    process.kill()
    process.wait()
    assert get(path) == (b"new", 1)


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_a_lock_that_is_no_file_does_not_block(path, kind, tmp_path):
    """In a process of its own, as opening a pipe would wait for ever."""
    path.parent.mkdir()
    lock = path.with_name(f".{path.name}.lock")
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda at: at.symlink_to("/dev/full")}
    make[kind](lock)
    code = f"""
import pathlib
from nucleiseg import tensorrt_cache
found = tensorrt_cache.load_or_make(pathlib.Path({str(path)!r}), {KEY!r}, lambda: b"new")
assert found == (b"new", True)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert cache.load(path, KEY) == b"new"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A real engine in a folder."""
    folder = tmp_path_factory.mktemp("engines")
    return tensorrt.build(Model.load(), compute_capability=(8, 6), folder=folder)


def again(report, **changes):
    settings = {"compute_capability": (8, 6), **changes}
    return tensorrt.build(Model.load(), folder=report.path.parent, **settings)


@needs.tensorrt_rtx
def test_an_engine_is_built_once(built):
    assert built.seconds > 0
    assert again(built).seconds is None
    assert len(again(built).plan) == len(built.plan) > 1_000_000


@needs.tensorrt_rtx
def test_an_engine_that_was_cut_short_is_built_again(built, said):
    with contextlib.suppress(OSError):
        os.truncate(built.path, 100_000)
    repaired = again(built)
    assert repaired.seconds > 0
    assert "is not used and made again: it holds 99," in said()[0]
    assert again(built).seconds is None


@needs.tensorrt_rtx
def test_an_engine_of_another_version_is_built_again(built, said):
    key = {**built.recipe.key, "library version": "0.1"}
    cache.store(built.path, key, built.path.read_bytes())
    assert again(built).seconds > 0
    assert any("its library version is 0.1, not" in words for words in said())
    assert again(built).seconds is None


@needs.tensorrt_rtx
def test_an_engine_that_others_may_write_or_own_is_built_again(built, said):
    built.path.chmod(0o666)
    assert again(built).seconds > 0
    assert "others may write it" in said()[0]
    if os.geteuid() == 0:  # nobody else can give a file away
        os.chown(built.path, 65_534, 65_534)
        assert again(built).seconds > 0
        assert any("it belongs to user 65534" in words for words in said())
    assert again(built).seconds is None


@needs.tensorrt_rtx
def test_an_engine_is_built_each_time_where_it_cannot_be_kept(tmp_path, said):
    folder = tmp_path / "file"
    folder.write_text("no folder")
    for _ in range(2):
        settings = {"compute_capability": (8, 6), "folder": folder}
        assert tensorrt.build(Model.load(), **settings).seconds > 0
    assert sum(str(folder) in words for words in said()) >= 2


@needs.tensorrt_rtx
def test_every_kind_of_gpu_has_an_engine_of_its_own(built):
    recipe = built.recipe
    changes = ({}, {"compute_capability": (7, 5)}, {"gpu": "a card, 8 multiprocessors"})
    assert len({replace(recipe, **change).filename for change in changes}) == 3


@needs.tensorrt_rtx
def test_an_engine_says_of_which_model_it_is(built):
    model = built.recipe.model
    _, header, *_ = built.path.read_bytes().split(b"\n", 2)
    assert json.loads(header)["model"] == f"{model.name} {model.version} {model.checksum}"


@needs.tensorrt_rtx
def test_two_commands_at_once_build_one_engine(tmp_path):
    command = [*COMMAND, "--compute-capability", "8.6", "--output", str(tmp_path / "engines")]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = sorted(process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0], said
    assert ["built in" in words for words in said] == [True, False], said
    assert "was there" in said[1]
