"""The option `--session-dir` of commands that look at sessions: where these are."""

import os
from pathlib import Path

import click

from massgen import sessions
from massgen.errors import UsageError


def _root(context: click.Context, option: click.Parameter, value: str | None) -> Path:
    """One that was named must be there: a misspelt one would be without any session."""
    if value is None:
        return sessions.folder()
    folder = os.path.expanduser(value)
    if not os.path.isdir(folder):
        raise UsageError(f"--session-dir {value!r}: there is no such folder")
    return Path(os.path.abspath(folder))


SESSION_DIR = click.option(
    "--session-dir", callback=_root, metavar="FOLDER", help="Where the sessions are (default: in the data folder)."
)
