"""Lines of CSV, against Python's own module."""

import csv
import io
import math
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nucleiseg._native import cpu

pytestmark = pytest.mark.skipif(
    not hasattr(cpu, "csv_rows"), reason="the C++ library has no std::to_chars for doubles"
)

# Where the point moves to an exponent, digits end, and numbers stop being whole.
EDGES = [
    *(0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 100.0, 123456789.125),
    *(1e-4, 9.999999999999999e-05, 1e-5, -1e-5, 1e15, 1e16, 9999999999999998.0, 1e17, 1e22, 1e23),
    *(5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, math.inf, -math.inf, math.nan),
    *(2.0**53, 2.0**53 + 2, -(2.0**63), 123456789012345680.0),
]


def python_lines(*columns):
    text = io.StringIO()
    rows = zip(*(column.tolist() for column in columns), strict=True)
    csv.writer(text).writerows(["" if value != value else value for value in row] for row in rows)
    return text.getvalue().encode()


def assert_lines_are_pythons(*columns):
    assert cpu.csv_rows(list(columns)) == python_lines(*columns)


def test_numbers_at_the_edges_are_pythons():
    values = np.array(EDGES)
    assert_lines_are_pythons(values, -values)


def test_powers_are_pythons():
    twos = np.ldexp(1.0, np.arange(-1074, 1024))
    tens = np.array([float(f"1e{exponent}") for exponent in range(-323, 309)])
    for values in (twos, tens, np.nextafter(twos, 0), np.nextafter(tens, np.inf)):
        assert_lines_are_pythons(values, -values)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=20))
@example([5e-324, -0.0])
def test_any_floats_are_pythons(values):
    assert_lines_are_pythons(np.array(values), np.array(values)[::-1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=50, max_size=200))
def test_any_bits_of_a_float_are_pythons(bits):
    values = np.array([struct.unpack("d", struct.pack("Q", each))[0] for each in bits])
    assert_lines_are_pythons(values, values)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(width=32))))
def test_columns_of_every_kind_are_pythons(rows):
    wide, flags, single = zip(*rows, strict=True) if rows else ((), (), ())
    wide = np.array(wide, np.int64)
    assert_lines_are_pythons(
        wide, np.array(flags, bool), np.array(single, np.float32), (wide >> 40).astype(np.int32)
    )


def test_columns_may_lie_apart_and_in_any_byte_order():
    values = np.arange(12.0).reshape(4, 3) / 7
    assert_lines_are_pythons(values[:, 1], values[::-1, 0].astype(">f8"))
    assert_lines_are_pythons(np.array([True, False, True])[::-1], np.arange(3, dtype=">i2"))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ([], ValueError, "columns: got 0 of them; accepted are 2 to 10000"),
        ([np.zeros(3)], ValueError, "columns: got 1 of them"),
        ([np.zeros(3), np.zeros(2)], ValueError, r"columns: got .*2.*accepted is \(n,\), of one n"),
        ([np.zeros((2, 2)), np.zeros(4)], ValueError, "columns: got"),
        ([np.zeros(3), np.zeros(3, "U2")], TypeError, "columns: got <U2; accepted are bool"),
        ([np.zeros(3), np.zeros(3, np.uint64)], TypeError, "columns: got uint64"),
        ([np.zeros(3), np.zeros(3, complex)], TypeError, "columns: got complex128"),
    ],
)
def test_wrong_columns_are_named(columns, error, message):
    with pytest.raises(error, match=message):
        cpu.csv_rows(columns)
