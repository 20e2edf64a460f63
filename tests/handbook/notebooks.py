"""Runs the notebooks of the handbook in a real kernel and compares what their cells print."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.handbook.console import steady
from tests.handbook.fences import Problem

FIX = "make docs-update writes what it prints; then look at the difference"


def problems(path: Path, variables: Mapping[str, str], home: Path) -> Iterator[Problem]:
    """The cells of the notebook at `path` whose stored output is not what they print."""
    stored = nbformat.read(path, as_version=4)
    fresh = executed(path, variables, home)
    for number, (old, new) in enumerate(zip(stored.cells, fresh.cells, strict=True), 1):
        if old.cell_type == "code" and printed(old) != printed(new):
            yield Problem(
                f"{path}:{number}", "notebook", f"cell {number} prints {printed(new)!r}, not {printed(old)!r}", FIX
            )


def update(path: Path, variables: Mapping[str, str], home: Path) -> None:
    """Store what the cells print, if it is not that already."""
    if [*problems(path, variables, home / "check")]:
        nbformat.write(executed(path, variables, home / "update"), path)


def executed(path: Path, variables: Mapping[str, str], home: Path) -> Any:
    """The notebook after a run in a fresh kernel, in a world of `variables`; cell metadata and counts as they were."""
    home.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(path, as_version=4)
    environment = {
        **os.environ,
        **variables,
        "HOME": str(home),
        "PYTHONPATH": str(Path.cwd()),
        "OPENAI_API_KEY": "sk-0123456789",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    client = NotebookClient(
        notebook, timeout=60, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(home)}}
    )
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        raise RuntimeError(f"{path}: {str(error)[-2000:]}") from None
    return notebook


def printed(cell: Any) -> str:
    """What a cell shows, as text."""
    texts = [out.get("text") or (out.get("data") or {}).get("text/plain", "") for out in cell.get("outputs", [])]
    return steady("".join(text if isinstance(text, str) else "".join(text) for text in texts))
