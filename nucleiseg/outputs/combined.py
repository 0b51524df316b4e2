"""One file for all images of a run, made of those of its images: tables and a COCO data set.

The images' own files are read one after the other, so that memory does not grow with their number,
and a run that was resumed gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from nucleiseg.names import as_utf8, printable
from nucleiseg.outputs import coco, extras

IMAGE = "image"
"""The column that names the image of a nucleus."""

_ROWS = 2**16
"""Fewest rows of a row group in Parquet, the last group excepted."""

Parts = Mapping[str, Path]
"""The file of each image, by its stem relative to the folder for outputs, in their order."""


def write_csv(parts: Parts, file: BinaryIO) -> None:
    """Write the tables one below the other; a column that an image lacks is empty there."""
    names = [_csv_names(path) for path in parts.values()]
    columns = [IMAGE, *dict.fromkeys(itertools.chain.from_iterable(names))]
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    for stem, path in parts.items():
        image = printable(as_utf8(stem))
        with path.open(encoding="utf-8", newline="") as lines:
            writer.writerows({IMAGE: image, **row} for row in csv.DictReader(lines))
    text.flush()
    text.detach()


def _csv_names(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as lines:
        return next(csv.reader(lines))


def write_parquet(parts: Parts, file: BinaryIO) -> None:
    """Write the tables one below the other; a column that an image lacks is null there."""
    arrow, parquet = extras.load("pyarrow"), extras.load("pyarrow.parquet")
    schemas = [_opened(path, parquet.read_schema) for path in parts.values()]
    image = arrow.schema([(IMAGE, arrow.string())])
    schema = arrow.unify_schemas([image, *schemas], promote_options="permissive")
    with parquet.ParquetWriter(file, schema) as writer:
        for tables in _grouped(
            _with_image(arrow, _opened(path, parquet.read_table), printable(as_utf8(stem)), schema)
            for stem, path in parts.items()
        ):
            writer.write_table(arrow.concat_tables(tables), row_group_size=_ROWS)


def _opened(path: Path, read: Callable[[BinaryIO], Any]) -> Any:
    # By its descriptor, as Arrow takes no name that is not UTF-8.
    with path.open("rb") as file:
        return read(file)


def _with_image(arrow: Any, table: Any, name: str, schema: Any) -> Any:
    """Return a table with the columns of a schema, and the name of its image."""
    columns = []
    for field in schema:
        if field.name == IMAGE:
            columns.append(arrow.repeat(arrow.scalar(name, field.type), len(table)))
        elif field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        else:
            columns.append(arrow.nulls(len(table), field.type))
    return arrow.table(columns, schema=schema)


def _grouped(tables: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield tables together until they have enough rows for a group."""
    group: list[Any] = []
    rows = 0
    for table in tables:
        group.append(table)
        rows += len(table)
        if rows >= _ROWS:
            yield group
            group, rows = [], 0
    if group:
        yield group


def write_coco(parts: Parts, file: BinaryIO) -> None:
    """Write a data set: ids of images and annotations count from 1 over all of them.

    An image's file name has the folders that its outputs lie in.
    """
    images: list[dict[str, Any]] = []
    head = {"categories": [coco.CATEGORY]}
    file.write(json.dumps(head, separators=(",", ":"))[:-1].encode() + b',"annotations":[')
    identity, separator = 0, b"\n"
    for number, (stem, path) in enumerate(parts.items(), start=1):
        part = json.loads(path.read_bytes())
        (image,) = part["images"]
        folder = stem.rpartition("/")[0]
        name = f"{folder}/{image['file_name']}" if folder else image["file_name"]
        images.append({**image, "id": number, "file_name": name})
        for annotation in part["annotations"]:
            identity += 1
            moved = {**annotation, "id": identity, "image_id": number}
            file.write(separator + json.dumps(moved, separators=(",", ":")).encode())
            separator = b",\n"
    file.write(b'\n],"images":' + json.dumps(images).encode() + b"}\n")


def parts(stems: Sequence[Path], ending: str, output: Path) -> dict[str, Path]:
    """Return the files with an ending of some stems, by the stems' paths relative to a folder."""
    return {
        stem.relative_to(output).as_posix(): stem.with_name(stem.name + ending) for stem in stems
    }
