"""Collecting what the report shows, image by image, while the run goes on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nucleiseg import images
from nucleiseg.model import Model
from nucleiseg.names import natural
from nucleiseg.outputs import extras
from nucleiseg.report.entry import Entry, Failure
from nucleiseg.report.page import render
from nucleiseg.result import Result

_Named = TypeVar("_Named", Entry, Failure)


class Report:
    """One HTML page about a run: pictures, counts, distributions and what stood out.

    Entries may come from several threads at once and in any order.

    Parameters
    ----------
    model : Model
        What the images are segmented with.
    path : Path
        Of the page, such as ``out/report.html``. Links to outputs are relative to its folder.

    Raises
    ------
    ModuleNotFoundError
        The package jinja2 is not installed.
    """

    def __init__(self, model: Model, path: Path) -> None:
        extras.load("jinja2")  # before there is anything to lose
        self.model = model
        self.path = path
        self._entries: list[Entry] = []
        self._failures: list[Failure] = []

    def describe(self, name: str, result: Result, files: Sequence[Path] = ()) -> dict[str, Any]:
        """Add one segmented image.

        Parameters
        ----------
        name : str
            Of its file. Folders that all images share are left out of the page.
        result : Result
            Without maps the page says nothing of confidence; without ``mpp`` sizes are in pixels.
        files : sequence of Path
            Its outputs.

        Returns
        -------
        dict
            What `restore` takes; JSON can hold it.
        """
        entry = Entry.of(name, result, self.model, self._links(files))
        self._entries.append(entry)
        return entry.kept()

    def restore(self, name: str, kept: Any, files: Sequence[Path] = ()) -> None:
        """Add an image that an earlier run described.

        Raises
        ------
        ValueError
            ``kept`` is not what `describe` returned.
        """
        self._entries.append(Entry.restored(name, kept, self._links(files)))

    def fail(self, name: str, reason: str) -> None:
        """Add an image that could not be segmented."""
        self._failures.append(Failure(name, reason))

    def flagged(self) -> dict[str, str]:
        """Return the names of images that are worth a second look, in order, and the reasons."""
        return {
            entry.name: ", ".join(flag.name for flag in entry.flags)
            for entry in _ordered(self._entries)
            if entry.flags
        }

    def write(self, settings: Mapping[str, str]) -> None:
        """Write the page, whole or not at all.

        Parameters
        ----------
        settings : mapping of str to str
            What was asked for, in the order in which it is shown.

        Raises
        ------
        OSError
            See `nucleiseg.images.write`.
        """
        page = render(_ordered(self._entries), _ordered(self._failures), self.model, settings)
        images.write(self.path, page.encode("utf-8"))

    def _links(self, files: Sequence[Path]) -> list[str]:
        return [os.path.relpath(file, self.path.parent) for file in files]


def _ordered(found: Iterable[_Named]) -> list[_Named]:
    return sorted(found, key=lambda each: natural(each.name))
