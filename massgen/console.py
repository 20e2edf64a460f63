"""What the commands write: stdout for what was asked for, stderr for everything else. A stream that is closed is no crash."""

import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from massgen.errors import MassgenError, UsageError

MAX_TRACEBACK = 20_000
"""Characters of a traceback that are told: its end."""


def shown(text: str) -> str:
    """As the model wrote it, but a terminal gets nothing that could steer it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    from massgen.streams import safe

    return safe(text)


def put(text: str, otherwise: str) -> None:
    """Write `text` to stdout, as `shown`; if that is closed or full, say so and where else the text is."""
    try:
        if sys.stdout is None:
            raise BrokenPipeError("it is closed")
        encoding = sys.stdout.encoding
        sys.stdout.write(shown(text).encode(encoding, "replace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        _abandon_stdout()
        raise MassgenError(f"stdout cannot be written ({error.strerror or error}); {otherwise}") from None


def check_writable(path: str) -> None:
    """Raises `UsageError` if `save` cannot write to `path`."""
    try:
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "Permission denied")
        if not _is_device(path):
            temporary, file = _temporary(path)
            file.close()
            temporary.unlink()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"the output file cannot be written: {why}", where=path) from None


def save(path: str, text: str) -> None:
    """Write `text` and a line's end to the file `path`, which is replaced as a whole or left as it was."""
    data = (text + "\n").encode(errors="replace")
    if _is_device(path):
        Path(path).write_bytes(data)
        return
    temporary, file = _temporary(path)
    try:
        with file:
            file.write(data)
        temporary.replace(os.path.realpath(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_device(path: str) -> bool:
    """Or a pipe: written to, never replaced."""
    return os.path.exists(path) and not os.path.isfile(path)


def _temporary(path: str) -> tuple[Path, BinaryIO]:
    """A new file beside that at `path`, with the same permissions."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name[:80]}.{os.urandom(4).hex()}")
    mode = target.stat().st_mode if target.exists() else None
    file = temporary.open("xb")
    if mode is not None:
        temporary.chmod(stat.S_IMODE(mode))
    return temporary, file


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


def defect(
    error: Exception, redact: Callable[[str], str], *, in_full: bool = False, session: Path | None = None
) -> str:
    """What to say of an `error` that nobody foresaw: that it is ours, and `in_full` where it happened."""
    import traceback

    where = redact("".join(traceback.format_exception(error)))[-MAX_TRACEBACK:] if in_full else ""
    what = redact(f"{type(error).__name__}: {error}")[:500]
    kept = f"\n  session: {session}" if session else ""
    hint = "" if in_full else ", with what MASSGEN_DEBUG=1 shows"
    return f"{where}massgen: this is a bug in massgen: {what}{kept}\n  Please report it{hint}."


def fetching(stream: TextIO | None) -> Callable[[str, int, int], None]:
    """A progress line for the download of a file, rewritten in place on a terminal, else one at every tenth."""
    shown = {"tenth": -1, "at": 0.0}

    def show(what: str, done: int, total: int) -> None:
        tenth, now = done * 10 // max(total, 1), time.monotonic()
        live = stream is not None and stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        if tenth == shown["tenth"] and not (live and now - shown["at"] > 0.2):
            return
        shown.update(tenth=tenth, at=now)
        text = f"fetching {what}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        click.echo(f"\r{text}\x1b[K" if live else text, err=True, nl=not live or done >= total)

    return show
