"""The origin of a page: the model, and the versions of what computed with it."""

from __future__ import annotations

import platform
from datetime import datetime

from nucleiseg.device import version
from nucleiseg.model import Model

LIBRARIES = ("numpy", "opencv-python-headless")


def described(model: Model) -> dict[str, str]:
    """Return the description of the model, as names and values."""
    low, high = model.good_diameters
    return {
        "Name": model.name,
        "Version": model.version,
        "SHA-256": model.checksum,
        "Licence": model.licence,
        "Trained on": "; ".join(model.data),
        "At its best": f"{low:g} to {high:g} pixels per nucleus, {model.mpp:g} µm per pixel",
    }


def versions() -> dict[str, str]:
    """Return the versions in use, and the time."""
    from nucleiseg import __version__

    return {
        "nucleiseg": __version__,
        "Python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "System": f"{platform.system()} {platform.machine()}",
        "Written": datetime.now().astimezone().isoformat(" ", "minutes"),
    }
