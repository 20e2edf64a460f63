"""Sessions that were recorded elsewhere become ours: those of another machine, exports, those of the public MassGen.

What is imported is only read. What cannot be read of it is told; the same session is not imported twice.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from massgen import sessions
from massgen.errors import LogError, UsageError
from massgen.events import Recorded
from massgen.importing.export import MARK, exported
from massgen.importing.files import Source
from massgen.importing.layouts import layout, session
from massgen.importing.logs import logged
from massgen.importing.turns import Turn, facts_of
from massgen.log import Log
from massgen.log.blobs import MAX_FACT, sync_folder
from massgen.log.codec import encode
from massgen.log.facts_file import BLOBS, content, read
from massgen.sessions import LOG_NAME, NAME
from massgen.streams import line

ORIGIN = "origin"
"""A file in a session's folder: the digest of what it was imported from."""
BEGINNING = 400
"""Bytes by which a file is recognised."""
KNOWN = "it is here already"
_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Imported:
    """The session's folder, made now or before, and what there is to say: above all what was left out, and why."""

    folder: Path
    notes: tuple[str, ...] = ()


def imported(path: Path, root: Path | None = None) -> Imported:
    """The session at `path` as one of those under `root` (default: the user's own). Raises `UsageError` if there is none,
    `LogError` if nothing of it can be read or it cannot be kept."""
    root = root or sessions.folder()
    if ours := _ours(path):
        return _copied(ours, root)
    if _exported(path):
        return _made(Source(path), exported, root)
    if found := layout(path):
        source = Source(found.root)
        if found.others:
            source.note(found.root, f"the last begun of {found.others + 1}; name another by its own folder")
        return _made(source, session if found.kind == "session" else logged, root)
    if os.path.isfile(path / LOG_NAME):
        read(path / LOG_NAME)  # raises what is wrong with it
    raise _none(path)


def _none(path: Path) -> UsageError:
    if os.path.isdir(path) and (inside := sessions.ids(path)):
        return UsageError(f"it holds sessions ({len(inside)})", where=str(path), fix=f"Name one, or all: {path / '*'}")
    return UsageError(
        "there is no session",
        where=str(path),
        fix="Name a session's folder, what `massgen sessions export --format json` wrote, or a folder of the public MassGen.",
    )


def foreign(path: Path) -> bool:
    """Whether at `path` is what `imported` makes a session of ours of first: an export, or a folder of the public MassGen."""
    return not _ours(path) and (_exported(path) or layout(path) is not None)


def _beginning(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would wait
            return b""
        with path.open("rb") as file:
            return file.read(BEGINNING)
    except OSError:
        return b""


def _exported(path: Path) -> bool:
    return MARK in _beginning(path)


def _ours(path: Path) -> Path | None:
    """The folder of the session at `path`, which may also be its log. The public MassGen has logs of that name, too."""
    for folder in (path, path.parent):
        log = folder / LOG_NAME
        if (folder == path or path.name == LOG_NAME) and b'"session log"' in _beginning(log):
            return folder.absolute()
    return None


# --- ours -------------------------------------------------------------------------------------------------------------


def _copied(source: Path, root: Path) -> Imported:
    facts = read(source / LOG_NAME)
    times = [each.at for each in facts]  # all of it is read, so that what is damaged is found
    data = content(source / LOG_NAME)[: facts.size]
    digest = hashlib.sha256(data).hexdigest()
    if source.parent.resolve() == root.resolve():
        return Imported(root / source.name, (f"{source.name}: {KNOWN}",))
    if known := _same(root, source.name, data) or _from(root, digest):
        return Imported(known, (f"{source.name}: {KNOWN}",))
    notes = Source(source)
    with _folder(root, source.name, times[0] if times else None) as folder:
        if folder.name != source.name and _ID.fullmatch(source.name):
            notes.note(source, f"another session has its id; it is {folder.name} here")
        _copy_files(source, folder, notes)
        _copy_name(source, folder, notes)
        if (source / "workspaces").is_dir():
            notes.note(source / "workspaces", "files that agents made are left out")
        _publish(folder, digest, lambda draft: _write(draft, data))
    return Imported(folder, notes.told)


def _same(root: Path, session: str, data: bytes) -> Path | None:
    """The session of that id, if it is this one, or has gone on from it."""
    log = root / session / LOG_NAME
    try:
        return log.parent if log.is_file() and log.read_bytes().startswith(data) else None
    except OSError:  # then it is another
        return None


def _copy_files(source: Path, folder: Path, notes: Source) -> None:
    """The large texts, each named by what is in it; what is not, is none."""
    for each in sorted((source / BLOBS).glob("*")):
        data = each.read_bytes() if each.is_file() and each.stat().st_size <= 4 * MAX_FACT else b""
        if hashlib.sha256(data).hexdigest() == each.name:
            (folder / BLOBS).mkdir(exist_ok=True, mode=0o700)
            _write(folder / BLOBS / each.name, data)
        else:
            notes.note(each, "not what its name says; left out")


def _copy_name(source: Path, folder: Path, notes: Source) -> None:
    if not (name := line(sessions.name(source), 80)):
        return
    others = [each for each in sessions.ids(folder.parent) if each != folder.name]
    if re.search(r"[/\\]", name) or any(
        each.startswith(name) or sessions.name(folder.parent / each) == name for each in others
    ):
        notes.note(source / NAME, f"{name!r} means another session here; left out")
    else:
        (folder / NAME).write_text(f"{name}\n", "utf-8")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(data)
        os.fsync(file.fileno())


# --- what is made ours ------------------------------------------------------------------------------------------------


def _made(source: Source, turns: Callable[[Source], list[Turn]], root: Path) -> Imported:
    recorded, lost = facts_of(turns(source))
    for each in lost:
        source.note(source.root, each)
    if not recorded:
        raise LogError(
            "; ".join(["nothing in it can be imported", *source.told[:5]]),
            where=str(source.root),
            fix="Nothing was changed there. A turn needs a question at least.",
        )
    digest = _digest(source.root.name, recorded)
    if known := _from(root, digest):
        return Imported(known, (f"{source.root.name}: {KNOWN}", *source.told))
    with _folder(root, "", recorded[0].at) as folder:
        _publish(folder, digest, lambda draft: _record(draft, recorded))
    return Imported(folder, source.told)


def _digest(name: str, recorded: Sequence[Recorded]) -> str:
    """Of the facts without their times, some of which may be those of files, which a copy changes."""
    told = [name, *(encode(each.fact) for each in recorded)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _record(draft: Path, recorded: Sequence[Recorded]) -> None:
    times = iter([each.at for each in recorded])
    with Log(draft, clock=lambda: next(times)) as log:
        for each in recorded:
            log.append(each.fact)


# --- both -------------------------------------------------------------------------------------------------------------


def _from(root: Path, digest: str) -> Path | None:
    """The session that was imported from what has this digest."""
    for each in sessions.ids(root):
        if _beginning(root / each / ORIGIN).strip() == digest.encode():
            return root / each
    return None


@contextmanager
def _folder(root: Path, session: str, begun: float | None) -> Generator[Path]:
    """A new folder under `root`, by the id `session` if that is one and free, else named by when it was `begun`; it goes if
    what follows fails."""
    folder = root / session
    try:
        if not _ID.fullmatch(session) or os.path.lexists(folder):
            folder = sessions.create(root, now=begun)
        else:
            folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise LogError(
            f"the session cannot be imported: {error.strerror or error}",
            where=str(error.filename or folder),
            fix="Free some space or allow reading and writing there.",
        ) from None


def _publish(folder: Path, digest: str, write: Callable[[Path], None]) -> None:
    """The log comes last, and whole: a folder without one is no session."""
    (folder / ORIGIN).write_text(f"{digest}\n", "utf-8")
    draft = folder / f"{LOG_NAME}.part"
    write(draft)
    draft.replace(folder / LOG_NAME)
    for each in (folder, folder.parent):
        sync_folder(each)
