"""Measuring the tools in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.peers import floats
from benchmarks.peers.client import Client
from benchmarks.peers.environments import PeerError
from benchmarks.peers.table import AGAINST, OURS, Peer
from benchmarks.steps.common import picture
from nucleiseg import Segmenter


class RaceError(Exception):
    """Ours cannot run, so there is nothing to hold the others against; the message is one line."""


@dataclass(frozen=True)
class Pace:
    """How often to measure.

    Attributes
    ----------
    rounds : tuple of (float, int)
        Where a picture takes up to so many seconds: how many rounds.
    calls : int
        The most in a round, of which the median counts.
    seconds : float
        After which no further call of a round begins.
    """

    rounds: tuple[tuple[float, int], ...] = ((2.0, 7), (15.0, 4), (float("inf"), 2))
    calls: int = 20
    seconds: float = 0.4

    def rounds_for(self, seconds: float) -> int:
        """Return the number of rounds for a picture that takes so long."""
        return next(count for limit, count in self.rounds if seconds <= limit)


QUICK = Pace(rounds=((2.0, 3), (float("inf"), 2)), seconds=0.2)


class Race:
    """The tools that run, and what was measured so far.

    Parameters
    ----------
    peers : sequence of Peer
        Ours among them.
    home : Path
        Folder of the environments.
    threads : int
    is_quick : bool
        Take fewer rounds, of pictures that are not as large.

    Attributes
    ----------
    about : dict
        By name: what runs there, or ``error``, why it does not.
    rows : list of dict
        One for each tool, output and size.
    nuclei : dict
        How many the picture of a size has.
    """

    def __init__(self, peers: Sequence[Peer], home: Path, threads: int, is_quick: bool) -> None:
        self.peers = list(peers)
        self.home, self.threads, self.pace = home, threads, QUICK if is_quick else Pace()
        self.largest = {peer: peer.quick_largest if is_quick else peer.largest for peer in peers}
        self.about: dict[str, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self.nuclei: dict[int, int] = {}
        self._clients: dict[str, Client] = {}

    def load(self) -> None:
        """Start every tool; one that fails is taken out of the race."""
        for peer in self.peers:
            self._guarded(peer, self._load)

    def measure(self, size: int, files: dict[str, str]) -> None:
        """Let every tool that takes pictures of this size run, each in turn with ours.

        Parameters
        ----------
        size : int
            Side of the picture.
        files : dict
            Of the picture; see `write_picture`.
        """
        fit = [peer for peer in self.peers if size <= self.largest[peer]]
        for peer in self.peers:
            if peer not in fit:
                self._close(peer)  # sizes grow, so its memory is not needed any more
        left, times = {}, {}
        for peer in fit:
            first = self._guarded(peer, lambda client, _: client.ask("take", **files))
            if first:
                left[peer] = self.pace.rounds_for(max(first["seconds"].values()))
                times[peer] = []
        while any(left.values()):
            for peer in [peer for peer, rounds in left.items() if rounds]:
                left[peer] -= 1
                pair = self._guarded(peer, self._pair)
                if pair is None:
                    left[peer], times[peer] = 0, []
                else:
                    times[peer].append(pair)
        for peer, pairs in times.items():
            self.rows += _rows(peer, size, pairs)

    def close(self) -> None:
        """End every tool."""
        for peer in self.peers:
            self._close(peer)

    def _close(self, peer: Peer) -> None:
        if peer.name in self._clients:
            self._clients.pop(peer.name).close()

    def _load(self, _: Client | None, peer: Peer) -> dict[str, Any]:
        files = {"float_graph": str(floats.graph(self.home))} if peer.needs_float_graph else {}
        client = self._clients[peer.name] = Client(peer, self.home, self.threads)
        return client.ask("load", threads=self.threads, files=files)

    def _pair(self, client: Client, peer: Peer) -> dict[str, Any]:
        """Time a tool, and ours just before it."""
        pace = {"calls": self.pace.calls, "seconds": self.pace.seconds}
        try:
            ours = self._clients[OURS].ask("time", **pace)["seconds"]
        except PeerError as error:
            raise RaceError(f"{OURS}: {error}") from error
        answer = client.ask("time", **pace) if peer.name != OURS else {"seconds": ours}
        return {**answer, "ours": ours}

    def _guarded(self, peer: Peer, step: Any) -> dict[str, Any] | None:
        """Take a step with a tool; if it fails, print the reason and continue without the tool."""
        entry = self.about.setdefault(peer.name, {"name": peer.name, "title": peer.title})
        if "error" in entry:
            return None
        try:
            answer: dict[str, Any] = step(self._clients.get(peer.name), peer)
        except PeerError as error:
            if peer.name == OURS:
                raise RaceError(f"{OURS}: {error}") from error
            print(f"{peer.title}: {error}", flush=True)
            entry["error"] = str(error)
            self._close(peer)
            return None
        entry.update(
            {key: value for key, value in answer.items() if key not in ("seconds", "ours")}
        )
        return answer


def _rows(peer: Peer, size: int, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sum up the rounds of a tool: one row for each output."""
    rows = []
    for output in pairs[0]["seconds"] if pairs else ():
        theirs = [median(pair["seconds"][output]) for pair in pairs]
        ours = [median(pair["ours"][AGAINST[output]]) for pair in pairs]
        ratios = [their / our for their, our in zip(theirs, ours, strict=True)]
        rows.append(
            {
                "peer": peer.name,
                "output": output,
                "size": size,
                "calls": sum(len(pair["seconds"][output]) for pair in pairs),
                "seconds": theirs,
                "ours": ours,
                "mpixel_per_s": size**2 / 1e6 / median(theirs),
                "ratio": median(ratios),
                "lowest_ratio": min(ratios),
            }
        )
    return rows


def run(
    peers: Sequence[Peer], sizes: Sequence[int], home: Path, threads: int, is_quick: bool
) -> Race:
    """Measure all the tools on pictures of all the sizes, from small to large."""
    race = Race(peers, home, threads, is_quick)
    with TemporaryDirectory() as folder:
        segmenter = Segmenter(device="cpu", threads=threads)
        try:
            race.load()
            for size in sorted(sizes):
                files, race.nuclei[size] = write_picture(Path(folder), size, segmenter)
                race.measure(size, files)
                for row in race.rows:
                    if row["size"] == size:
                        print(_words(row, race.about[row["peer"]]["title"]), flush=True)
        finally:
            race.close()
    return race


def write_picture(folder: Path, size: int, segmenter: Segmenter) -> tuple[dict[str, str], int]:
    """Write an example of real tissue and its mirror images, side by side, and the nuclei in it.

    Returns
    -------
    files : dict
        ``image`` and ``labels``, which are those that nucleiseg finds.
    nuclei : int
        How many there are.
    """
    image = picture(size)
    labels = segmenter.segment(image, "labels", scale=1)
    files = {}
    for kind, array in (("image", image), ("labels", labels)):
        files[kind] = str(folder / f"{kind}_{size}.npy")
        np.save(files[kind], array)
    return files, int(labels.max())


def _words(row: dict[str, Any], title: str) -> str:
    size = f"{row['size']} x {row['size']}"
    return (
        f"{size:12} {title:32} {row['output']:7} {row['mpixel_per_s']:9.3f} Mpixel/s, "
        f"ours {row['ratio']:.4g} times as fast (lowest {row['lowest_ratio']:.4g})"
    )
