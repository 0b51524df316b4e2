"""The maps that the network learns, made from a label image."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

REACH = 64
"""Pixels of mirror image round a picture: a nucleus that the border cuts keeps its centre there,
as it does at run time, where tiles are padded by reflection."""

SMALL_DIAMETER = 20.0
"""Nuclei smaller than this many pixels across get extra weight: each nucleus counts once when
nuclei are counted, however few its pixels are."""

SMALLEST = 64
"""Emphasis of nuclei of half that diameter and less."""

GAP_REACH = 3
"""Nuclei closer than twice this many pixels have a gap between them that is worth weight."""


DIAMETERS = (3.0, 192.0)
"""What 0 and 255 of a map of diameters stand for; between them their logarithms are even."""


class Targets(NamedTuple):
    """Maps of one label image, all (H, W) uint8, 0..255 standing for 0..1.

    ``nucleus`` is 255 inside nuclei; ``distance`` is the distance to the nucleus's edge over that
    nucleus's largest; ``emphasis`` is high where a pixel matters more than its area says: between
    two nuclei that touch or nearly do, and in and around small nuclei.
    """

    nucleus: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    emphasis: NDArray[np.uint8]


def make_targets(labels: NDArray[np.int32]) -> Targets:
    """Make the target maps of a label image.

    Parameters
    ----------
    labels : ndarray, (H, W) int32
        0 is background, 1..n one nucleus each.
    """
    nucleus = np.where(labels > 0, 255, 0).astype(np.uint8)
    emphasis = np.maximum(gaps(labels), smallness(labels))
    return Targets(nucleus, centre_distance(labels), emphasis)


def size_targets(labels: NDArray[np.int32]) -> Targets:
    """Make the target maps of a network that measures nuclei (`training.sizes`).

    ``nucleus`` is as ever; ``distance`` has the `code` of the diameter of the nearest nucleus, so
    that resampling mixes no background into it; ``emphasis`` is 0.

    Parameters
    ----------
    labels : ndarray, (H, W) int32
    """
    nucleus = np.where(labels > 0, 255, 0).astype(np.uint8)
    nothing = np.zeros_like(nucleus)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    if not areas.any():
        return Targets(nucleus, nothing, nothing)
    diameters = 2 * np.sqrt(areas / np.pi)
    # Of nuclei that the border cuts the whole size is not known.
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    diameters[cut] = np.maximum(diameters[cut], np.average(diameters, weights=areas))
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    return Targets(nucleus, code(diameters)[labels[tuple(nearest)]], nothing)


def code(diameters: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the values that stand for diameters, of any shape, in pixels."""
    share = share_of_range(np.maximum(diameters, DIAMETERS[0]) / DIAMETERS[0])
    return np.rint(np.clip(255 * share, 0, 255)).astype(np.uint8)


def share_of_range(factor: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return by which share of the range of `DIAMETERS` a factor changes a code."""
    shares: NDArray[np.float64] = np.log(factor) / np.log(DIAMETERS[1] / DIAMETERS[0])
    return shares


def centre_distance(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return each nucleus pixel's distance to the edge over the nucleus's largest distance.

    Distances are Euclidean, from the pixel's centre to the nucleus's outline, half a pixel before
    the nearest pixel outside.
    """
    reach = min(REACH, max(1, min(labels.shape) - 1))
    padded = np.pad(labels, reach, mode="reflect" if min(labels.shape) > 1 else "edge")
    result = np.zeros(padded.shape, np.uint8)
    for number, box in enumerate(ndimage.find_objects(padded), start=1):
        if box is None:
            continue
        inside = np.pad((padded[box] == number).astype(np.uint8), 1)
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        relative = (distance - 0.5) / (distance.max() - 0.5)
        within = distance > 0
        result[box][within] = np.rint(255 * relative[within]).astype(np.uint8)
    return result[reach:-reach, reach:-reach]


def gaps(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Mark, with soft edges, the places where two nuclei touch or nearly do."""
    grown = expand_labels(labels, GAP_REACH)
    border = np.zeros(labels.shape, bool)
    for numbers, marked in ((grown, border), (grown.T, border.T)):
        before, after = numbers[:-1], numbers[1:]
        meets = (before != after) & (before > 0) & (after > 0)
        marked[:-1] |= meets
        marked[1:] |= meets
    soft = cv2.GaussianBlur(border.astype(np.float32), (0, 0), 1.0)
    return np.rint(255 * np.clip(soft * 1.5, 0, 1)).astype(np.uint8)


def smallness(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Mark small nuclei and the two pixels around them, the smaller the higher."""
    diameters = 2 * np.sqrt(np.bincount(labels.ravel()) / np.pi)
    weight = np.clip(SMALL_DIAMETER / np.maximum(diameters, 1.0) - 1, 0, 1) * SMALLEST
    weight[0] = 0
    return np.rint(weight).astype(np.uint8)[expand_labels(labels, 2)]
