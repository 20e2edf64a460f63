"""`massgen sessions export`: a session as a document to read, share or work with."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from massgen.commands.session_dir import SESSION_DIR
from massgen.console import put, save, tell
from massgen.errors import LogError, UsageError
from massgen.sessions import LOG_NAME, find

if TYPE_CHECKING:
    from massgen.exports import Form

_FORMS: "dict[str, Form]" = {".json": "json", ".md": "md", ".markdown": "md", ".html": "html", ".htm": "html"}


@click.command()
@click.argument("session", default="")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "md", "html"]),
    help="What to write; else FILE's suffix says, else md.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file, not stdout (-)."
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@SESSION_DIR
def export(session: str, form: "Form | None", output: Path | None, force: bool, session_dir: Path) -> None:
    """Write SESSION as one document: its questions, answers, votes, reasons and times.

    SESSION is an id, its beginning, a name, or a path; without it, the latest. An HTML page loads nothing and runs nothing,
    whatever the models wrote. The settings of the run, its keys and its folder are in none.
    """
    output = None if output == Path("-") else output
    form = form or _form(output)
    if output and not force:
        _check_free(output)
    folder = find(session, session_dir)
    if not session:
        tell(f"massgen: session {folder.name}")
    text = _rendered(folder / LOG_NAME, form)
    if output:
        _save(text, output)
    else:
        put(text, f"--output writes to a file; the session is kept in {folder}")


def _check_free(output: Path) -> None:
    """Raises `UsageError` where a file, or something that may become one, would be replaced: not for a device or a pipe."""
    if os.path.lexists(output) and (output.is_file() or output.is_dir() or not output.exists()):
        raise UsageError("there is a file already", where=str(output), fix="Name another, or give --force.")


def _save(text: str, output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        save(str(output), text)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot be written: {why}", where=str(output)) from None


def _form(output: Path | None) -> "Form":
    if output is None:
        return "md"
    if output.suffix.lower() not in _FORMS:
        raise UsageError(
            f"the suffix {output.suffix!r} says no format",
            where=str(output),
            fix=f"End its name in {', '.join(_FORMS)}, or give --format.",
        )
    return _FORMS[output.suffix.lower()]


def _rendered(log: Path, form: "Form") -> str:
    from massgen.exports import rendered
    from massgen.log import read

    try:
        return rendered(read(log), form)
    except LogError as error:
        raise LogError(error.what, where=error.where or str(log), fix=error.fix) from None
