"""How the image is changed: L-BFGS or Adam, in legs that a run can be taken up after."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .losses import Objective

PAIRS = 10
"""Earlier steps that L-BFGS estimates the curvature from, as many as SciPy takes."""

RATE = 0.02
"""Adam's learning rate: the largest change of a pixel in a step, of 0..1."""

Pixels = NDArray[np.float64]
State = list[NDArray[np.generic]]


def lbfgs(
    objective: Objective, flat: Pixels, state: State, steps: int, after: Callable[[Pixels], None]
) -> tuple[Pixels, State]:
    """Take some steps of L-BFGS-B (Zhu et al. 1997, doi:10.1145/279232.279236) within 0..1.

    Parameters
    ----------
    objective : Objective
    flat : ndarray, (H * W * 3,) float64
        The image in 0..1.
    state : list
        Empty: each leg estimates the curvature anew, so a run that was taken up gives what one in
        one sitting does.
    steps : int
        Iterations; fewer are taken where there is no way down.
    after : callable
        Called with the image after each.

    Returns
    -------
    flat, state
        The image then, and an empty list.
    """
    found = minimize(
        objective,
        flat,
        method="L-BFGS-B",
        jac=True,
        bounds=[(0.0, 1.0)] * flat.size,
        callback=after,
        options={"maxiter": steps, "maxcor": PAIRS, "maxfun": 20 * steps, "ftol": 0, "gtol": 0},
    )
    return found.x, state


def adam(
    objective: Objective, flat: Pixels, state: State, steps: int, after: Callable[[Pixels], None]
) -> tuple[Pixels, State]:
    """Take some steps of Adam (Kingma & Ba 2014, doi:10.48550/arXiv.1412.6980), clipped to 0..1.

    The parameters and what comes back are those of `lbfgs`, but that ``state`` holds the
    optimiser's moments: empty at first, and then what the leg before gave.
    """
    image = keras.Variable(flat.astype(np.float32))
    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build([image])
    for variable, value in zip(optimizer.variables, state, strict=False):
        variable.assign(value)
    for _ in range(steps):
        _, gradient = objective(keras.ops.convert_to_numpy(image).astype(np.float64))
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")])
        image.assign(keras.ops.clip(image, 0.0, 1.0))
        after(keras.ops.convert_to_numpy(image).astype(np.float64))
    moments = [keras.ops.convert_to_numpy(variable) for variable in optimizer.variables]
    return keras.ops.convert_to_numpy(image).astype(np.float64), moments


OPTIMIZERS = {"lbfgs": lbfgs, "adam": adam}
