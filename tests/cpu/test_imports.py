"""No module of the package imports, however late, one that imports it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import nucleiseg

FOLDER = Path(nucleiseg.__file__).parent


def module_names() -> dict[str, Path]:
    """Return each module's file. A package is its ``__init__``; `_native` is compiled."""
    found = {}
    for path in FOLDER.rglob("*.py"):
        parts = (FOLDER.name, *path.relative_to(FOLDER).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the package's modules that a file imports, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = node.module or ""
            inner = {f"{whole}.{alias.name}" for alias in node.names}
            found |= inner & set(modules)
            if any(name not in modules and not name.endswith("._native") for name in inner):
                found.add(whole)
    return found & set(modules)


def test_there_is_no_circle():
    modules = module_names()
    graph = {name: imported(path, modules) - {name} for name, path in modules.items()}
    graph[FOLDER.name] = set()  # `from nucleiseg import __version__`, which is there from the start
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("nucleiseg.model") < order.index("nucleiseg.segmenter")
    assert order.index("nucleiseg.backends") < order.index("nucleiseg.driver")
