"""COCO's annotations: a box and a run-length mask for each nucleus, as pycocotools reads them.

Where outlines are smooth they take the mask's place, as COCO's polygons, which have no holes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from nucleiseg.names import as_utf8
from nucleiseg.outputs import rle
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "coco", "COCO annotations"
ABOUT = "JSON of outlines for machine learning"
ENDING = "_coco.json"

CATEGORY = {"id": 1, "name": "nucleus", "supercategory": "cell"}


def write(result: Segmented, file: BinaryIO) -> None:
    """Write annotation after annotation."""
    height, width = result.labels.shape
    image = {"id": 1, "file_name": as_utf8(result.name), "width": width, "height": height}
    head = f'{{"images":{json.dumps([image])},"categories":{json.dumps([CATEGORY])},"annotations":['
    file.write(head.encode())
    separator = b"\n"
    for annotation in entries(result):
        file.write(separator + json.dumps(annotation, separators=(",", ":")).encode())
        separator = b",\n"
    file.write(b"\n]}\n")


def entries(result: Segmented) -> Iterator[dict[str, Any]]:
    """Yield the annotation of each nucleus; its id is its label."""
    table = result.table
    size = list(result.labels.shape)
    top, left, bottom, right = (np.asarray(table[f"bbox-{side}"]) for side in range(4))
    boxes = np.stack([left, top, right - left, bottom - top], axis=1)
    columns = (table["label"].tolist(), table["area"].tolist(), boxes.tolist())
    shapes: Iterable[Any]
    if result.smooth:
        shapes = (
            [part[0][:, ::-1].ravel().tolist() for part in outline.parts]
            for outline in result.outlines
        )
    else:
        shapes = ({"size": size, "counts": counts} for counts in rle.encode(result.labels))
    for label, area, box, shape in zip(*columns, shapes, strict=True):
        yield {
            "id": label,
            "image_id": 1,
            "category_id": CATEGORY["id"],
            "bbox": box,
            "area": area,
            "iscrowd": 0,
            "segmentation": shape,
        }
