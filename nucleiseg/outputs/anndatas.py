"""Nuclei as AnnData (``.h5ad``), for scanpy, squidpy and the rest of scverse.

A nucleus is an observation, named by its label. Measurements of shape and intensity are the
variables; the position is (x, y) in pixels, between whose centres it is counted.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from nucleiseg.names import printable
from nucleiseg.outputs import extras
from nucleiseg.outputs.segmented import Segmented

NAME, PLURAL = "anndata", "AnnData tables"
ABOUT = ".h5ad for scverse"
MAPS = True
ENDING = "_nuclei.h5ad"

NEEDS = "anndata"

KEPT_ASIDE = ("label", "border")
"""Columns that describe an observation and are no features."""

_PLACES = ("centroid-", "bbox-")


def write(result: Segmented, file: BinaryIO) -> None:
    """Write the nuclei; ModuleNotFoundError without the package anndata."""
    nuclei = of(result)
    # HDF5 reads what it has written, which the file may not be open for.
    whole = io.BytesIO()
    with extras.load("h5py").File(whole, "w") as store:
        extras.load("anndata.io").write_elem(store, "/", nuclei)
    file.write(whole.getbuffer())


def of(result: Segmented) -> Any:
    """Return an ``anndata.AnnData`` of the nuclei.

    Returns
    -------
    AnnData
        ``X`` (n, features) float64, in micrometres where the size of a pixel is known; ``obs`` with
        ``label`` and ``border``; ``obsm["spatial"]`` (n, 2) float64, x and y in pixels; ``uns``
        with ``image`` and, where known, ``mpp``.
    """
    table = result.table
    names = [
        name
        for name in table
        # Of what is measured in pixels and in micrometres one is enough.
        if name not in KEPT_ASIDE
        and not name.startswith(_PLACES)
        and not {f"{name}_um", f"{name}_um2"} & set(table)
    ]
    pandas = extras.load("pandas")
    rows = table["label"].astype(str)
    known = {"mpp": result.mpp} if result.mpp else {}
    return extras.load(NEEDS).AnnData(
        np.stack([table[name].astype(np.float64) for name in names], axis=1),
        obs=pandas.DataFrame({name: table[name] for name in KEPT_ASIDE}, index=rows),
        var=pandas.DataFrame(index=names),
        obsm={"spatial": np.stack([table["centroid-1"], table["centroid-0"]], axis=1)},
        uns={"image": printable(result.name + result.plane), **known},
    )
