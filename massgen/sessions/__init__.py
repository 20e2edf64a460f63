"""Where sessions live: a folder each, named by time and chance, holding the session's log."""

import os
import shlex
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from massgen.errors import LogError, UsageError
from massgen.file_lock import PATIENCE, hold
from massgen.paths import data_dir

LOG_NAME = "events.jsonl"


NAME = "name"
"""A file in a session's folder, with the name that the user gave it on one line."""


def folder() -> Path:
    """Where sessions are, unless one is asked for elsewhere."""
    return data_dir() / "sessions"


def ids(root: Path) -> list[str]:
    """The sessions under `root`, the latest first."""
    try:
        # os.path: a folder that may not be read is no session here, and no error for all the others
        return sorted((each for each in os.listdir(root) if os.path.isfile(root / each / LOG_NAME)), reverse=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogError(f"the sessions cannot be read: {error.strerror or error}", where=str(root)) from None


def name(session: Path) -> str:
    """What the user calls the session in the folder `session`; empty if nothing."""
    try:
        return (session / NAME).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def find(reference: str, root: Path | None = None) -> Path:
    """The folder of the session meant by `reference`: an id, the only id that begins so, a name, or a path to a folder or
    its log. Empty: the latest. Raises `UsageError` that names what comes close."""
    root = root or folder()
    if "/" in reference or os.sep in reference or reference.startswith("."):
        return _at(os.path.expanduser(reference))
    known = ids(root)
    if not reference and known:
        return root / known[0]
    found = [each for each in known if reference and each.startswith(reference)]
    found = [each for each in found if each == reference] or found
    found = found or [each for each in known if reference and name(root / each) == reference]
    if len(found) == 1:
        return root / found[0]
    if found:
        raise UsageError(f"{reference!r} may be {', '.join(found[:5])}", fix="Write more of the id.")
    raise UsageError(
        f"there is no session {reference!r}" if reference else "there is no session yet",
        where=str(root),
        fix="massgen sessions list tells them." if known else "",
    )


def reference(session: Path) -> str:
    """What `--continue` finds the session in that folder by, quoted for a shell."""
    if session.parent == folder():
        return shlex.quote(session.name)
    return shlex.quote(str(session) if session.name != str(session) else os.path.join(".", session))  # a path has a /


def _at(place: str) -> Path:
    """The session's folder at `place`, which may also be its log."""
    path = Path(os.path.abspath(place))
    try:
        for each in (path, path.parent):
            if (each / LOG_NAME).is_file() and (each == path or path.name == LOG_NAME):
                return each
    except OSError as error:
        raise UsageError(f"the session cannot be read: {error.strerror or error}", where=str(path)) from None
    raise UsageError("there is no session", where=str(path), fix=f"Name a folder with an {LOG_NAME}, or an id.")


def create(root: Path | None = None, *, now: float | None = None) -> Path:
    """A new session's folder under `root` (default: `sessions` in the data folder), readable by its owner only."""
    root = root or folder()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() if now is None else now))
    made = root / f"{stamp}-{os.urandom(3).hex()}"
    try:
        made.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise LogError(
            f"the session's folder cannot be made: {error.strerror or error}",
            where=str(made),
            fix="Free some space or allow writing there, or set MASSGEN_HOME to another folder.",
        ) from None
    return made


def running(session: Path) -> bool:
    """Whether a process is writing the session in the folder `session`."""
    try:
        with _alone(session, shared=True):
            return False
    except LogError:
        return True
    except OSError:
        return False


def delete(session: Path, root: Path) -> None:
    """Delete the session in the folder `session`, for good. Raises `UsageError` for all that is not the folder of a session
    right below `root`, links to one included, and `LogError` if a process is writing it or it cannot be deleted."""
    import shutil  # 5 ms, for nobody else

    if session.parent.resolve() != root.resolve() or session.is_symlink() or not (session / LOG_NAME).is_file():
        raise UsageError("this is no session's own folder, and is not deleted", where=str(session))
    try:
        with _alone(session):
            if sys.platform != "win32":  # where what is open cannot be deleted
                shutil.rmtree(session)
        if sys.platform == "win32":
            shutil.rmtree(session)
    except OSError as error:
        raise LogError(f"cannot be deleted: {error.strerror or error}", where=str(session)) from None


@contextmanager
def _alone(session: Path, *, shared: bool = False) -> Generator[None]:
    """While no process writes the session, and none can begin to; `shared` with all who only want that. Raises `LogError` if
    one does, else `OSError`."""
    path = session / LOG_NAME
    with path.open("rb") as file:
        if not hold(file.fileno(), shared=shared, patience=0 if shared else PATIENCE):
            raise LogError("a process is writing this session", where=str(path), fix="Wait for it to end, or end it.")
        yield
