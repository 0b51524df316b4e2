"""Reading what `training.export` writes: the nodes and constants of an ONNX file.

ONNX is a protocol buffer (github.com/onnx/onnx, ``onnx.proto``); what is needed of it is little,
and so neither the onnx package nor OpenVINO has to be loaded to run the network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Field numbers of onnx.proto.
GRAPH = 7
NODES, CONSTANTS, INPUTS, OUTPUTS = 1, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, INTEGER, INTEGERS = 1, 3, 8
DIMENSIONS, ELEMENT_TYPE, TENSOR_NAME, RAW_DATA = 1, 2, 8, 9
VALUE_NAME = 1

DTYPES = {1: "<f4", 2: "|u1", 3: "|i1"}

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Node:
    """One operation: its inputs' and outputs' names, and its whole-number attributes."""

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
        model = _fields(memoryview(content))
        graph = _fields(model[GRAPH][0])
        return Graph(
            [_node(one) for one in graph.get(NODES, [])],
            dict(map(_constant, graph.get(CONSTANTS, []))),
            [_text(_fields(one)[VALUE_NAME][0]) for one in graph.get(INPUTS, [])],
            [_text(_fields(one)[VALUE_NAME][0]) for one in graph.get(OUTPUTS, [])],
        )
    except (KeyError, IndexError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"no ONNX graph that can be read ({error!r})") from error


def _fields(message: memoryview) -> dict[int, list[Any]]:
    """Give a message's values by field number: numbers, and views of bytes."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        value: Any
        if kind == VARINT:
            value, at = _number(message, at)
        elif kind == BYTES:
            size, at = _number(message, at)
            if at + size > len(message):
                raise ValueError("a message that is cut off")
            value, at = message[at : at + size], at + size
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"a field of kind {kind}, which no ONNX file has")
        found.setdefault(key >> 3, []).append(value)
    return found


def _number(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _numbers(values: list[Any]) -> Iterator[int]:
    """Give numbers that stand one by one, or packed into bytes."""
    for value in values:
        if isinstance(value, int):
            yield value
            continue
        at = 0
        while at < len(value):
            number, at = _number(value, at)
            yield number


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _node(message: memoryview) -> Node:
    fields = _fields(message)
    return Node(
        _text(fields[OPERATOR][0]),
        [_text(one) for one in fields.get(NODE_INPUT, [])],
        [_text(one) for one in fields.get(NODE_OUTPUT, [])],
        dict(map(_attribute, fields.get(ATTRIBUTE, []))),
    )


def _attribute(message: memoryview) -> tuple[str, Any]:
    fields = _fields(message)
    name = _text(fields[ATTRIBUTE_NAME][0])
    if INTEGERS in fields:
        return name, list(_numbers(fields[INTEGERS]))
    return name, fields.get(INTEGER, [None])[0]


def _constant(message: memoryview) -> tuple[str, NDArray[Any]]:
    fields = _fields(message)
    name = _text(fields[TENSOR_NAME][0])
    kind = fields[ELEMENT_TYPE][0]
    if kind not in DTYPES or RAW_DATA not in fields:
        raise ValueError(f"constant {name!r} of element type {kind}")
    shape = list(_numbers(fields.get(DIMENSIONS, [])))
    return name, np.frombuffer(fields[RAW_DATA][0], DTYPES[kind]).reshape(shape)
