"""A hook of MkDocs that makes a page of each notebook, with the outputs that it holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_STYLE = re.compile(r"<style.*?</style>\n?", re.S)
_LOOK = re.compile(r' (border|class|style)="[^"]*"')
"""Of tables, in the way of the site's own."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add ``NAME.md`` beside each ``NAME.ipynb``, which stays as a file to download."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            text = page(Path(str(file.abs_src_path)))
            name = str(Path(file.src_uri).with_suffix(".md"))
            files.append(File.generated(config, name, content=text))
    return files


def page(path: Path) -> str:
    """Return a notebook as Markdown: its text, its code and the outputs of the code."""
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # A link to another notebook leads to its page.
            parts.append(re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", cell.source))
        else:
            parts.append(f"```python\n{cell.source}\n```")
            parts += [_output(output) for output in cell.outputs]
    title, *others = parts
    heading, _, rest = title.partition("\n")
    download = f"[Download this notebook]({path.name})"
    return "\n\n".join([heading, download, rest.strip(), *others]) + "\n"


def _output(output: Any) -> str:
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    data = output.data
    if "text/html" in data:
        html = _STYLE.sub("", data["text/html"])
        return f"<div>\n{_LOOK.sub('', html) if '<table' in html else html}\n</div>"
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
    return f"```text\n{data['text/plain']}\n```"
