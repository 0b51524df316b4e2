"""Print the dependencies of pyproject.toml as requirements of their oldest allowed versions.

    python tools/oldest.py [EXTRA ...]

Fails for a dependency without a lower bound.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pip._vendor import tomli

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BOUND = re.compile(r"([\w.-]+)(\[[\w,]+\])?>=([\w.]+)(,<[\w.]+)?$")


def oldest(requirement: str) -> str:
    """Return a requirement of exactly the oldest version that another one allows."""
    found = BOUND.match(requirement.replace(" ", ""))
    if not found:
        sys.exit(f"pyproject.toml: {requirement!r} has no lower bound such as 'name>=1.2'")
    name, extras, version, _ = found.groups()
    return f"{name}{extras or ''}=={version}"


def main() -> None:
    """Print the package's own dependencies, and those of the extras that are named."""
    project = tomli.loads(PROJECT.read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in sys.argv[1:]:
        wanted += project["optional-dependencies"][extra]
    print(" ".join(map(oldest, wanted)))


if __name__ == "__main__":
    main()
