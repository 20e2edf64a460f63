"""What the commands write: stdout for what was asked for, stderr for everything else. A stream that is closed is no crash."""

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

import click

from massgen.errors import MassgenError


def shown(text: str) -> str:
    """As the model wrote it, but a terminal gets nothing that could steer it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    from massgen.view import safe

    return safe(text)


def put(text: str, otherwise: str) -> None:
    """Write to stdout; if that is closed or full, say so and where else the text is."""
    try:
        if sys.stdout is None:
            raise BrokenPipeError("it is closed")
        encoding = sys.stdout.encoding
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        _abandon_stdout()
        raise MassgenError(f"stdout cannot be written ({error.strerror or error}); {otherwise}") from None


def _abandon_stdout() -> None:
    """Else the interpreter flushes it once more at exit, and complains."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(message: str) -> None:
    """A line on stderr, unless that is closed too."""
    try:
        click.echo(message, err=True)
    except OSError:
        sys.stderr = None


def fetching(stream: TextIO | None) -> Callable[[str, int, int], None]:
    """A progress line for the download of a file, rewritten in place on a terminal, else one at every tenth."""
    shown = {"tenth": -1, "at": 0.0}

    def show(what: str, done: int, total: int) -> None:
        tenth, now = done * 10 // max(total, 1), time.monotonic()
        live = stream is not None and stream.isatty()
        if tenth == shown["tenth"] and not (live and now - shown["at"] > 0.2):
            return
        shown.update(tenth=tenth, at=now)
        text = f"fetching {what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        click.echo(f"\r{text}\x1b[K" if live else text, err=True, nl=not live or done >= total)

    return show
