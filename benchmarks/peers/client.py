"""The driver's end of one tool's process."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.peers import environments
from benchmarks.peers.environments import PeerError
from benchmarks.peers.table import Peer

ROOT = Path(__file__).parents[2]

PATIENCE = 600.0
"""Seconds to wait for an answer before a tool counts as stuck."""


class Client:
    """Starts a tool's process and asks it, one request at a time.

    Between requests the process is stopped, so that no thread of it spins while another tool is
    being measured.

    Parameters
    ----------
    peer : Peer
    home : Path
        Folder of the environments; what the tool prints goes to a file in it.
    threads : int

    Raises
    ------
    PeerError
        Its packages cannot be installed.
    """

    def __init__(self, peer: Peer, home: Path, threads: int) -> None:
        program = environments.python(peer.environment, home)
        home.mkdir(parents=True, exist_ok=True)
        self.log = home / f"{peer.name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(program), "-m", "benchmarks.peers.worker", peer.program],
                cwd=ROOT,
                env=environments.variables(peer.environment, threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._stop()

    def ask(self, do: str, patience: float = PATIENCE, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises
        ------
        PeerError
            The tool failed, ended or gave no answer.
        """
        request = json.dumps({"do": do, **arguments}) + "\n"
        self.process.send_signal(signal.SIGCONT)
        try:
            os.write(self.process.stdin.fileno(), request.encode())
            line = self._line(patience)
        except BrokenPipeError:
            line = b""
        if not line:
            code = self.process.wait()
            raise PeerError(f"ended by itself with {code}; what it said is in {self.log}")
        self._stop()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _stop(self) -> None:
        """Stop the process, and wait until it is stopped, or over."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _line(self, patience: float) -> bytes:
        if not select.select([self.process.stdout], [], [], patience)[0]:
            self.close()
            raise PeerError(f"gave no answer in {patience:g} s; what it said is in {self.log}")
        line: bytes = self.process.stdout.readline()
        return line

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
