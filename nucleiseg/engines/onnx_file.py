"""Reading what `training.export` writes: the nodes and constants of an ONNX file.

ONNX is a protocol buffer (github.com/onnx/onnx, ``onnx.proto``); what is needed of it is little,
and so the onnx package does not have to be loaded to run the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Field numbers of onnx.proto.
GRAPH = 7
NODES, CONSTANTS, INPUTS, OUTPUTS = 1, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, INTEGER, STRING, INTEGERS = 1, 3, 4, 8
DIMENSIONS, ELEMENT_TYPE, TENSOR_NAME, RAW_DATA = 1, 2, 8, 9
VALUE_NAME = 1

UINT8 = 2
DTYPES = {1: "<f4", UINT8: "|u1", 3: "|i1"}

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VARINT_BYTES = 10
"""Length of the longest number that a protocol buffer holds, one of 64 bits."""
LONGEST_NAME = 1000
LARGEST_RANK = 4
"""Axes of a constant: those of a convolution's weights."""


@dataclass(frozen=True)
class Node:
    """One operation: its inputs' and outputs' names, its attributes that are numbers or text."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The operations of a file, its constants by name, and the names that go in and come out."""

    nodes: list[Node]
    constants: dict[str, NDArray[Any]]
    inputs: list[str]
    outputs: list[str]


def read(content: bytes) -> Graph:
    """Read a file's graph.

    Parameters
    ----------
    content : bytes
        The whole file.

    Raises
    ------
    ValueError
        It is no ONNX file, or holds a constant of a kind that `training.export` does not write.
    """
    try:
        graph = _fields(_only(_fields(memoryview(content)), GRAPH))
        found = Graph(
            [_node(one) for one in _messages(graph, NODES)],
            dict(map(_constant, _messages(graph, CONSTANTS))),
            [_text(_only(_fields(one), VALUE_NAME)) for one in _messages(graph, INPUTS)],
            [_text(_only(_fields(one), VALUE_NAME)) for one in _messages(graph, OUTPUTS)],
        )
    except (KeyError, UnicodeDecodeError) as error:
        raise ValueError(f"no ONNX graph that can be read ({error!r})") from error
    _check_names(found)
    return found


def _check_names(graph: Graph) -> None:
    """Refuse a name that is computed twice, or read before: in order, no graph has a ring."""
    known = {*graph.inputs, *graph.constants}
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                raise ValueError(f"a node that reads {name!r} before it is computed")
        for name in node.outputs:
            if name in known:
                raise ValueError(f"two values of the name {name!r}")
            known.add(name)


def _fields(message: memoryview) -> dict[int, list[int | memoryview]]:
    """Return a message's values by field number: numbers, and views of bytes."""
    found: dict[int, list[int | memoryview]] = {}
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        value: int | memoryview
        if kind == VARINT:
            value, at = _number(message, at)
        elif kind in (BYTES, FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            if kind == BYTES:
                size, at = _number(message, at)
            if at + size > len(message):
                raise ValueError("a message that is cut off")
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"a field of kind {kind}, which no ONNX file has")
        found.setdefault(key >> 3, []).append(value)
    return found


def _messages(fields: dict[int, list[int | memoryview]], number: int) -> list[memoryview]:
    """Return what a field holds, which must be bytes."""
    found = [one for one in fields.get(number, []) if isinstance(one, memoryview)]
    if len(found) < len(fields.get(number, [])):
        raise ValueError(f"a number in field {number}, where no ONNX file has one")
    return found


def _only(fields: dict[int, list[int | memoryview]], number: int) -> memoryview:
    found = _messages(fields, number)
    if len(found) != 1:
        raise ValueError(f"no ONNX graph that can be read ({len(found)} times field {number})")
    return found[0]


def _number(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + VARINT_BYTES]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number that is cut off, or of more than 64 bits")


def _numbers(values: list[int | memoryview]) -> Iterator[int]:
    """Yield numbers that stand one by one, or packed into bytes."""
    for value in values:
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            number, at = _number(value, at)
            yield number


def _text(value: memoryview) -> str:
    if len(value) > LONGEST_NAME:
        raise ValueError(f"a name of {len(value):,} bytes; accepted are up to {LONGEST_NAME:,}")
    return bytes(value).decode()


def _node(message: memoryview) -> Node:
    fields = _fields(message)
    return Node(
        _text(_only(fields, OPERATOR)),
        [_text(one) for one in _messages(fields, NODE_INPUT)],
        [_text(one) for one in _messages(fields, NODE_OUTPUT)],
        dict(map(_attribute, _messages(fields, ATTRIBUTE))),
    )


def _attribute(message: memoryview) -> tuple[str, Any]:
    fields = _fields(message)
    name = _text(_only(fields, ATTRIBUTE_NAME))
    if INTEGERS in fields:
        return name, list(_numbers(fields[INTEGERS]))
    if STRING in fields:
        return name, _text(_only(fields, STRING))
    return name, fields.get(INTEGER, [None])[0]


def _constant(message: memoryview) -> tuple[str, NDArray[Any]]:
    fields = _fields(message)
    name = _text(_only(fields, TENSOR_NAME))
    kind = fields[ELEMENT_TYPE][0]
    if kind not in DTYPES or RAW_DATA not in fields:
        raise ValueError(f"constant {name!r} of element type {kind}")
    shape = list(_numbers(fields.get(DIMENSIONS, [])))
    raw, dtype = _only(fields, RAW_DATA), np.dtype(DTYPES[kind])
    if len(shape) > LARGEST_RANK or math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f"constant {name!r} of shape {shape[:LARGEST_RANK]} in {len(raw):,} bytes")
    return name, np.frombuffer(raw, dtype).reshape(shape)
