"""The commands and blocks of code in the documents.

A comment before a block, ``<!-- not run: needs QuPath -->``, is why it is not run. Blocks of
``text``, what a program printed, need none.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "training" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

TEXT = "text"
"""The language of blocks that nothing runs: what a program printed."""

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
_REASON = re.compile(r"<!-- not run: (?P<reason>[^\n]+) -->\n+ *\Z")


@dataclass(frozen=True)
class Block:
    """Code of a page that is run as one: a block of Python, or one command."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        first = self.text.splitlines()[0]
        return f"{self.page.relative_to(ROOT)}:{self.line}: {first[:60]}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield what can be run of a page, in its order."""
    content = page.read_text()
    for fence in FENCE.finditer(content):
        line = content[: fence.start()].count("\n") + 2
        language, text = fence["language"], textwrap.dedent(fence["text"])
        before = _REASON.search(content[: fence.start()])
        reason = before["reason"] if before else None
        if language == "python":
            yield Block(page, line, language, text, reason)
        elif language == "bash":
            for offset, command in commands(text):
                yield Block(page, line + offset, language, command, reason)
        elif language != TEXT:
            yield Block(page, line, language, text, reason)


def commands(text: str) -> Iterator[tuple[int, str]]:
    """Yield the commands of a block with the line that each begins in, without comments."""
    command, begin = "", 0
    for number, line in enumerate(text.splitlines()):
        code = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not command:
            begin = number
        command += code.removesuffix("\\")
        if not code.endswith("\\") and command.strip():
            yield begin, " ".join(command.split())
            command = ""
