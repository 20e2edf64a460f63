"""The configuration templates that ship with massgen, by exact name (`@examples/NAME`), and how a configuration is written."""

import difflib
import os
import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from massgen.errors import UsageError

PREFIX = "@examples/"
_FIELD = re.compile(r"# (Purpose|Needs|Cost|Try): +(.+)")


@dataclass(frozen=True, slots=True)
class Header:
    """What the comments at the top of a template say, each as one line; `attempt` is the field `Try`, a command."""

    purpose: str = ""
    needs: str = ""
    cost: str = ""
    attempt: str = ""


def folder() -> Path:
    """Where the templates are: in the installed package, or in a checkout beside it."""
    installed = Path(__file__).parent / "examples"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "examples"


def names() -> list[str]:
    """The templates' names, sorted; those in a subfolder as `folder/name`."""
    return [*_names()]


@cache
def _names() -> tuple[str, ...]:
    root = folder()
    return tuple(sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.yaml")))


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


def header(name: str) -> Header:
    """What the template `name` says of itself. Raises `UsageError` as `path` does."""
    return parse_header(path(name).read_text(encoding="utf-8"))


def parse_header(text: str) -> Header:
    """The header of a template's `text`: a field runs on over the comment lines that are indented below it."""
    fields: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if found := _FIELD.fullmatch(line.rstrip()):
            last = found[1].lower().replace("try", "attempt")
            fields[last] = found[2]
        elif last and line.startswith("#   "):
            fields[last] += f" {line[1:].strip()}"
        else:
            break
    return Header(**fields)


def save(text: str, target: Path, *, replace: bool) -> None:
    """Write a configuration to `target`, whole or not at all; what is there stays unless `replace`.

    Raises `UsageError` where something is there already, or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".massgen-", dir=target.parent) as work:
            whole = Path(work) / "config.yaml"
            whole.write_text(text, encoding="utf-8")
            if replace:
                whole.replace(target)
            else:
                os.link(whole, target)
    except OSError as error:
        if isinstance(error, FileExistsError) and target.exists():
            fix = "Name another, or give --force."
            raise UsageError("there is a file already", where=str(target), fix=fix) from None
        raise UsageError(f"cannot be written: {error.strerror}", where=str(target)) from None
