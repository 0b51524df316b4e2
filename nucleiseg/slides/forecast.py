"""What a run would take, before it begins."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from nucleiseg.slides import task
from nucleiseg.slides.plan import Plan, memory
from nucleiseg.slides.task import Settings

DENSITY = 3000
"""Nuclei in a square millimetre of tissue: of CMU-1-Small-Region 2,430, of lymph nodes 10,000."""

BYTES = {"zarr": 120, "geojson": 850, "geoparquet": 700, "csv": 450, "parquet": 180}
"""Of a nucleus in each format, as CMU-1-Small-Region has them."""

OTHERS = 1.5
"""Time for all beside the network, times the network's own."""

_SIDE = 1024


def lines(planned: Plan, formats: str) -> Iterator[str]:
    """Return lines that say what a run on a slide would do, take and write.

    The network is timed on one tile of this machine, which takes a moment.
    """
    info, regions = planned.info, [one for band in planned.bands for one in band]
    pixels = planned.area.count()
    looked_at = sum(planned.area.part(region) is not None for region in regions)
    area = planned.tissue_um2 / 1e6
    whole_um2 = info.width * info.height * info.mpp[0] * info.mpp[1]
    side = max(regions[0].height, regions[0].width)
    most = memory(planned.settings.tile)
    seconds = OTHERS * pixels * _seconds_a_pixel(planned.settings)
    nuclei = area * DENSITY
    size = sum(BYTES.get(name.strip(), 0) for name in formats.split(",")) * nuclei
    yield f"{info.path}: {info.width:,} x {info.height:,} pixels of {info.mpp[0]:.3g} um"
    yield (
        f"  the network sees {info.label_width:,} x {info.label_height:,} pixels of "
        f"{info.label_mpp[0]:.3g} um, from level {planned.settings.size.level}"
    )
    yield f"  tissue: {area:.3g} mm2, {planned.tissue_um2 / whole_um2:.0%} of the slide"
    yield f"  regions: {looked_at:,} of {len(regions):,}, of up to {side:,} pixels a side"
    yield f"  time: about {seconds:.0f} s on this machine, memory: up to {most / 1e9:.1f} GB"
    yield f"  written: about {size / 1e6:.0f} MB for {nuclei:,.0f} nuclei ({DENSITY:,} a mm2)"


def _seconds_a_pixel(settings: Settings) -> float:
    network = task.network_of(settings)
    picture = np.full((_SIDE, _SIDE, 3), 128, np.uint8)
    network.maps(picture[:256, :256])
    begin = time.perf_counter()
    network.maps(picture)
    return (time.perf_counter() - begin) / _SIDE**2
