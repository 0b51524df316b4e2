"""The package imagecodecs, and what is said where an installation has lost it."""

from __future__ import annotations

from nucleiseg.readers.stack import UnacceptedError

try:
    import imagecodecs
except ImportError:
    imagecodecs = None  # type: ignore[assignment]

__all__ = ["check", "imagecodecs"]


def check(kind: str) -> None:
    """Raise an error if imagecodecs is missing.

    Parameters
    ----------
    kind : str
        What needs it, as in "is a PNG file".

    Raises
    ------
    UnacceptedError
    """
    if imagecodecs is None:
        raise UnacceptedError(
            f"{kind}, which needs the package imagecodecs; it belongs to nucleiseg and is missing: "
            "pip install imagecodecs"
        )
