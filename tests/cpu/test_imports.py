"""No module of the package imports, however late, one that imports it or one of a higher layer."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import nucleiseg

FOLDER = Path(nucleiseg.__file__).parent
ARCHITECTURE = FOLDER.parent / "docs" / "architecture.md"


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


def layers() -> dict[str, int]:
    """Return the number of the layer of each module and folder in the documents, from the top."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    table = text.partition("## The layers of the package")[2].partition("\n\nBeside")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    return {name: i for i, row in enumerate(rows) for name in re.findall(r"`([\w.]+)`", row)}


def layer(module: str, known: dict[str, int]) -> int:
    """Return the layer of a module: its own, or that of the innermost folder that has one."""
    name = module.removeprefix(f"{FOLDER.name}.")
    while name not in known:
        assert "." in name, f"{module} is in no layer of {ARCHITECTURE}"
        name = name.rpartition(".")[0]
    return known[name]


def upward(graph: dict[str, set[str]], known: dict[str, int]) -> set[tuple[str, str]]:
    """Return the imports that lead to a higher layer."""
    return {
        (name, other)
        for name, others in graph.items()
        for other in others - {FOLDER.name}
        if name != FOLDER.name and layer(other, known) < layer(name, known)
    }


def test_no_import_leads_upward():
    modules = module_names()
    graph = {name: imported(path, modules) for name, path in modules.items()}
    known = layers()
    assert len(known) > 20
    assert upward(graph, known) == set()
    wrong = ("nucleiseg.outputs.masks", "nucleiseg.report.page")
    assert upward(graph | {wrong[0]: {wrong[1]}}, known) == {wrong}


def test_the_layers_name_only_modules_that_exist():
    names = {name.removeprefix(f"{FOLDER.name}.") for name in module_names()} | {"_native"}
    assert set(layers()) <= names
