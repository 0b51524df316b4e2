"""Where on a slide there is tissue: found in a small picture of it, or given.

Bright-field: light that is lost against the glass (optical density), where it is not even as pen
and shadows are. Fluorescence: light above the background. Holes are filled, specks dropped, and a
seam of glass around the tissue is taken in, so that no nucleus at its edge is cut.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nucleiseg import images
from nucleiseg.outputs.extras import cv2
from nucleiseg.slides.slide import Slide

Mask = NDArray[np.bool_]

LEAST_DENSITY = 0.04
"""Of tissue, mean of the channels: pale adipose tissue has 0.06; glass after JPEG of quality 30
differs from its own mode by 0.01."""

SURE_DENSITY = 0.12
"""Otsu's threshold may not ask for more: on a slide full of tissue it parts dark from pale."""

LEAST_TEXTURE = 0.008
"""Standard deviation of the density in a window of 5 x 5; of shadows on glass it is 0.003."""

LEAST_AREA_UM2 = 20_000.0
"""Of a piece of tissue: a core of a needle biopsy has 500,000, dust 1,000."""

LARGEST_HOLE_UM2 = 500_000.0

SEAM_UM = 32.0
"""Glass that is taken in around tissue."""

MPP = 8.0
"""Micrometres per pixel of the picture, where that is not more than `MOST_PIXELS`."""

MOST_PIXELS = 1 << 24

DARK = 0.25
"""Fluorescence: the median is below this part of the brightest values."""


def find(picture: NDArray[Any], mpp: float) -> Mask:
    """Return where there is tissue.

    Parameters
    ----------
    picture : ndarray, (h, w) or (h, w, 3)
        Of the whole slide.
    mpp : float
        Micrometres per pixel of the picture.

    Returns
    -------
    ndarray, (h, w) bool
        All False for blank glass.
    """
    values = picture.astype(np.float32)
    grey = values.mean(2) if values.ndim == 3 else values
    if _is_fluorescence(grey):
        rough = _above_background(grey)
    else:
        rough = _absorbing(values if values.ndim == 3 else values[..., None])
    return _cleaned(rough, mpp)


def _is_fluorescence(grey: NDArray[np.float32]) -> bool:
    low, middle, high = (float(np.percentile(grey, part)) for part in (1, 50, 99.9))
    return high > low and middle - low < DARK * (high - low)


def _above_background(grey: NDArray[np.float32]) -> NDArray[np.bool_]:
    smooth = cv2.GaussianBlur(grey, (0, 0), 2)
    background = float(np.median(smooth))
    noise = 1.4826 * float(np.median(np.abs(smooth - background)))
    return np.asarray(smooth > background + max(6 * noise, 1.0))


def _absorbing(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    white = _glass(values)
    density = np.log10(white / np.clip(values, 1, None)).clip(0, None)
    mean = density.mean(2)
    smooth = cv2.GaussianBlur(mean, (0, 0), 1)
    threshold = min(max(_otsu(smooth), LEAST_DENSITY), SURE_DENSITY)
    texture = np.sqrt(np.clip(cv2.blur(mean**2, (5, 5)) - cv2.blur(mean, (5, 5)) ** 2, 0, None))
    textured = cv2.blur((texture > LEAST_TEXTURE).astype(np.float32), (9, 9)) > 0.3
    tissue: Mask = (smooth > threshold) & textured
    return tissue & ~_pen(density) if density.shape[2] == 3 else tissue


def _glass(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colour of the light without tissue: the most frequent of the brightest half."""
    colour = []
    for channel in np.moveaxis(values, 2, 0):
        bright = channel[channel >= np.percentile(channel, 90) * 0.85]
        counts, edges = np.histogram(bright, bins=64)
        colour.append(edges[int(counts.argmax()) + 1])
    return np.array(colour, np.float32).clip(1, None)


def _otsu(values: NDArray[np.float32]) -> float:
    scaled = np.clip(values / 0.5 * 255, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(level) / 255 * 0.5


def _pen(density: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where there is ink: blue and green pass more green light than stains, black is even.

    Haematoxylin, eosin and DAB all take more green than red light, or nearly as much (Ruifrok and
    Johnston, "Quantification of histochemical staining by color deconvolution", 2001).
    """
    red, green, blue = np.moveaxis(cv2.GaussianBlur(density, (0, 0), 1), 2, 0)
    coloured = (red > 0.2) & (green < 0.7 * red)
    mean = (red + green + blue) / 3
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    black = (mean > 0.6) & (spread < 0.2 * mean)
    ink = (coloured | black).view(np.uint8)
    # Single dark or blue nuclei are no pen; a stroke is wide, and its rim is pale.
    solid = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return cv2.dilate(solid, np.ones((15, 15), np.uint8)).view(np.bool_)


def _cleaned(rough: NDArray[np.bool_], mpp: float) -> Mask:
    closing = np.ones((5, 5), np.uint8)
    mask = np.asarray(cv2.morphologyEx(rough.view(np.uint8), cv2.MORPH_CLOSE, closing), np.uint8)
    _drop_small(mask, LEAST_AREA_UM2 / mpp**2)
    holes = np.subtract(1, mask, dtype=np.uint8)
    _drop_small(holes, LARGEST_HOLE_UM2 / mpp**2, connectivity=4)
    seam = math.ceil(SEAM_UM / mpp)
    whole = 1 - holes
    return cv2.dilate(whole, np.ones((2 * seam + 1, 2 * seam + 1), np.uint8)).view(np.bool_)


def _drop_small(mask: NDArray[np.uint8], least: float, connectivity: int = 8) -> None:
    """Take pieces with fewer pixels out of a mask."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    small = stats[:, cv2.CC_STAT_AREA] < least
    small[0] = False
    mask[small[pieces]] = 0


def given(path: Path, slide: Slide, shape: tuple[int, int]) -> Mask:
    """Return where a file says that there is tissue.

    Parameters
    ----------
    path : Path
        An image of the whole slide at any size, in which 0 is no tissue, or GeoJSON with polygons
        in pixels of level 0, as QuPath exports annotations.
    slide : Slide
    shape : tuple of int
        Height and width of the mask, where it is drawn from polygons.

    Raises
    ------
    ValueError
        The file holds neither, or an image of another shape.
    FileNotFoundError
        There is no such file.
    """
    if path.suffix.lower() in (".geojson", ".json"):
        return _drawn(path, slide.levels[0], shape)
    values = images.read(path)
    mask: Mask = (values[..., :3].max(2) if values.ndim == 3 else values) > 0
    height, width = slide.levels[0]
    if abs(mask.shape[0] / mask.shape[1] / (height / width) - 1) > 0.05:
        raise ValueError(
            f"tissue: got {path} of {mask.shape[0]} x {mask.shape[1]} pixels; accepted is a "
            f"picture of the whole slide, of {height} x {width}"
        )
    return mask


def _drawn(path: Path, size: tuple[int, int], shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, np.uint8)
    steps = np.array([shape[1] / size[1], shape[0] / size[0]])
    polygons = _polygons(path)
    if not polygons:
        raise ValueError(f"tissue: got {path} without a polygon; accepted is GeoJSON with polygons")
    for rings in polygons:
        one = np.zeros(shape, np.uint8)
        points = [
            np.floor(np.array(ring, np.float64)[:, :2] * steps).astype(np.int32) for ring in rings
        ]
        cv2.fillPoly(one, points, 1)  # even-odd: further rings are holes
        mask |= one
    return mask.view(np.bool_)


def _polygons(path: Path) -> list[list[list[list[float]]]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        features = content.get("features", [content]) if isinstance(content, dict) else content
        found: list[Any] = []
        for one in features:
            geometry = one.get("geometry", one)
            if geometry["type"] == "Polygon":
                found.append(geometry["coordinates"])
            elif geometry["type"] == "MultiPolygon":
                found += geometry["coordinates"]
        return [rings for rings in found if all(len(ring) >= 3 for ring in rings)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"tissue: got {path}, which is no GeoJSON ({error})") from None


def geojson(mask: Mask, size: tuple[int, int]) -> bytes:
    """Return the outlines of a mask as GeoJSON for QuPath, in pixels of level 0.

    Parameters
    ----------
    mask : ndarray, (h, w) bool
    size : tuple of int
        Height and width of level 0.
    """
    # Every pixel becomes 2 x 2, so that outlines go along the edges of the mask's own.
    steps = size[1] / mask.shape[1] / 2, size[0] / mask.shape[0] / 2
    doubled = np.repeat(np.repeat(mask.view(np.uint8), 2, 0), 2, 1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    polygons: dict[int, list[Any]] = {}
    for index, contour in enumerate(contours):
        if len(contour) < 3:
            continue
        points = [
            [round((x + 0.5) * steps[0], 1), round((y + 0.5) * steps[1], 1)]
            for x, y in contour[:, 0].tolist()
        ]
        parent = int(hierarchy[0][index][3])
        polygons.setdefault(index if parent < 0 else parent, []).append([*points, points[0]])
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": polygons[index]},
            "properties": {"objectType": "annotation", "classification": {"name": "Tissue"}},
        }
        for index in sorted(polygons)
    ]
    content = {"type": "FeatureCollection", "features": features}
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
