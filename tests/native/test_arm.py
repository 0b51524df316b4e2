"""The CPU's kernels on 64-bit Arm: they compile, use NEON, and give the same as everywhere."""

import re
from collections import Counter

import network_file
import pytest
from programs import ROOT, SANE, digests, make, need, run

from nucleiseg import Model
from nucleiseg._native import cpu
from nucleiseg.engines import packed

ROUNDS = "rounds=10"
SIDE = 96  # pixels of a picture: qemu computes some million multiplications a second
BUILD = ROOT / "build" / "selftest-arm" / "CMakeFiles"
NEON = re.compile(r"\bv\d+\.(16b|8h|4s|2d)\b")
FUNCTION = re.compile(r"^[0-9a-f]+ <(?P<name>.*)>:$")
HOT_LOOPS = [
    "normalize<unsigned char>",
    "normalize<unsigned short>",
    "normalize<short>",
    "normalize<float>",
    "normalize<double>",
    "grey_to_rgb",
    "mask",
    "heights",
    "codes",
]


@pytest.fixture(scope="module", autouse=True)
def cross_compiled() -> None:
    need("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    make("arm", "run=true")  # compiles, and runs nothing


def instructions(object_file: str) -> dict[str, list[str]]:
    """Read the instructions of each function."""
    done = run("aarch64-linux-gnu-objdump", "-dC", "--no-show-raw-insn", str(BUILD / object_file))
    assert done.returncode == 0, done.stdout
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if match := FUNCTION.match(line):
            found[match["name"]] = lines = []
        elif found and "\t" in line:
            lines.append(line.split("\t", 1)[1])
    return found


@pytest.mark.parametrize("name", HOT_LOOPS)
def test_a_row_is_done_in_neon_registers(name):
    rows = instructions("rows_neon.dir/csrc/cpu/simd/rows.cpp.o")
    bodies = [body for function, body in rows.items() if f"::{name}(" in function]
    assert len(bodies) == 1
    kinds = Counter(line.split()[0] for line in bodies[0] if NEON.search(line))
    assert len(kinds) >= 3, f"{name}: {dict(kinds)}"


def test_cells_are_spread_in_neon_registers():
    functions = instructions("nucleiseg_cpu.dir/csrc/cpu/tiles/tiles.cpp.o")
    wide = [line for name, body in functions.items() if "assemble" in name for line in body]
    # Every other 32-bit half of a cell.
    assert any(re.match(r"(ld2|uzp[12])\s.*v\d+\.4s", line) for line in wide)


def test_gathering_copies_whole_rows():
    functions = instructions("nucleiseg_cpu.dir/csrc/cpu/tiles/tiles.cpp.o")
    copies = [line for name, body in functions.items() if "gather" in name for line in body]
    assert any("<memcpy" in line for line in copies)


@pytest.mark.parametrize(("level", "product"), [("neon", "smull"), ("neondot", "sdot")])
def test_a_convolution_multiplies_in_neon_registers(level, product):
    functions = instructions(f"convolve_{level}.dir/csrc/cpu/simd/convolve_neon.cpp.o")
    found = [line.split()[0] for lines in functions.values() for line in lines]
    assert found.count(product) >= 64


def test_the_results_are_the_same_bit_for_bit():
    """Each level of the convolution is compared with the portable one within the program."""
    need("qemu-aarch64", "qemu-user")
    printed = make("arm", ROUNDS)
    assert SANE.search(printed), printed
    assert "convolutions: portable neon neondot\n" in printed
    found = digests(printed)
    assert list(found) == ["neon"]
    here = digests(make("plain", ROUNDS, "programs=cpu_selftest"))
    assert list(here) == cpu.features()["levels"]
    for level, results in here.items():
        assert results == found["neon"], level
        assert len(results) == 7


def test_the_model_gives_the_same_maps_and_labels(tmp_path):
    """Of the middle of each example image, at each level, on one thread and on three."""
    need("qemu-aarch64", "qemu-user")
    make("arm", "run=true", "programs=network_digests")
    model = Model.load()
    pictures = network_file.tiles(model, SIDE)
    network_file.write(tmp_path / "tiles", pictures)
    packed.write(model, tmp_path / "model")
    expected = network_file.digests(model, pictures)
    program = str(BUILD.parent / "network_digests")
    done = run("qemu-aarch64", program, tmp_path / "model", tmp_path / "tiles", "neon", "neondot")
    names = ("neon 1", "neon 3", "neondot 1", "neondot 3")
    assert done.stdout.splitlines() == [f"{name} {expected}" for name in names]


@pytest.mark.parametrize(
    ("options", "levels"),
    [
        (["-cpu", "cortex-a53"], "portable neon"),
        (["-cpu", "cortex-a76"], "portable neon neondot"),
        (["-E", "NUCLEISEG_SIMD=neon"], "portable neon"),
        (["-E", "NUCLEISEG_SIMD=portable"], "portable"),
    ],
)
def test_levels_are_those_of_the_processor_and_the_environment(options, levels):
    need("qemu-aarch64", "qemu-user")
    done = run("qemu-aarch64", *options, str(BUILD.parent / "cpu_selftest"), "1")
    assert f"convolutions: {levels}\n" in done.stdout
    assert SANE.search(done.stdout), done.stdout
