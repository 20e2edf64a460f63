"""The configuration templates that ship with massgen, by exact name: `@examples/NAME`."""

import difflib
from pathlib import Path

from massgen.errors import UsageError

PREFIX = "@examples/"


def folder() -> Path:
    """Where the templates are: in the installed package, or in a checkout beside it."""
    installed = Path(__file__).parent / "examples"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "examples"


def names() -> list[str]:
    """The templates' names, sorted; those in a subfolder as `folder/name`."""
    root = folder()
    return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml"))


def path(name: str) -> Path:
    """The file of the template `name` (with or without `.yaml`). Raises `UsageError` with the nearest names."""
    exact = name.removesuffix(".yaml")
    if exact in names():
        return folder() / f"{exact}.yaml"
    close = difflib.get_close_matches(exact, names(), 3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(names())}."
    raise UsageError(f"no template is called {name!r}", fix=hint)


def find(given: str) -> Path | None:
    """The file meant by `@examples/NAME`; None for anything else."""
    return path(given.removeprefix(PREFIX)) if given.startswith(PREFIX) else None
