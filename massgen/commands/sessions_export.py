"""`massgen sessions export`: a session as a document to read, share or work with."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from massgen.console import put, tell
from massgen.errors import LogError, UsageError
from massgen.examples import save
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
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to this file, not stdout.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def export(session: str, form: "Form | None", output: Path | None, force: bool) -> None:
    """Write SESSION as one document: its questions, answers, votes, reasons and times.

    SESSION is an id, its beginning, a name, or a path; without it, the latest. An HTML page loads nothing and runs nothing,
    whatever the models wrote. The settings of the run, its keys and its folder are in none.
    """
    form = form or _form(output)
    if output and os.path.lexists(output) and not force:
        raise UsageError("there is a file already", where=str(output), fix="Name another, or give --force.")
    folder = find(session)
    if not session:
        tell(f"massgen: session {folder.name}")
    text = _rendered(folder / LOG_NAME, form)
    if output:
        save(text + "\n", output, replace=force)
    else:
        put(text, f"--output writes to a file; the session is kept in {folder}")


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
