"""nucleiseg with its faster model."""

from __future__ import annotations

from . import ours


class Program(ours.Program):
    model = "nuclei-fast"
