"""The columns that the tables of a slide share."""

from __future__ import annotations

from nucleiseg.outputs.table import LENGTHS, Table
from nucleiseg.slides.nuclei import Nuclei, SlideInfo


def columns(nuclei: Nuclei, info: SlideInfo) -> Table:
    """Return the measurements of nuclei, in pixels of level 0 and in micrometres.

    Returns
    -------
    Table
        ``label``, ``centroid_x``, ``centroid_y``, ``area``, ``diameter``, those again in units that
        end in ``_um`` and ``_um2``, ``confidence``, and then the features; a length among these
        has a twin in micrometres. x and y are from the upper left corner of the slide.
    """
    x, y = nuclei.centroid[:, 1], nuclei.centroid[:, 0]
    mpp_x, mpp_y = info.mpp
    mpp = info.mean_mpp
    table = Table(
        label=nuclei.id,
        centroid_x=x,
        centroid_x_um=x * mpp_x,
        centroid_y=y,
        centroid_y_um=y * mpp_y,
        area=nuclei.area,
        area_um2=nuclei.area * (mpp_x * mpp_y),
        diameter=nuclei.diameter,
        diameter_um=nuclei.diameter * mpp,
        confidence=nuclei.confidence,
    )
    for name, values in nuclei.features.items():
        table[name] = values
        if name in LENGTHS:
            table[f"{name}_um"] = values * mpp
    return table
