"""The append-only log of a session: one writer, one `os.write` for facts that belong together, brought to disk at every
milestone.

The first line is a header with the format's version; each further line is one fact. An end without its line's end, or
without the facts it belongs with, was never acknowledged and is set aside; anything else that cannot be read is an error,
and nothing is overwritten. Texts of more than 65,536 characters are kept beside the log, in `blobs`.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from massgen.errors import LogError
from massgen.events import Answered, Asked, Chosen, Fact, Presented, Recorded, Stopped, Voted
from massgen.file_lock import PATIENCE, hold
from massgen.log.blobs import LARGE, MARK, MAX_FACT, Blobs, reference, sync_folder, taken_out
from massgen.log.codec import encode
from massgen.log.facts_file import BLOBS, FORMAT, Facts, content, parsed, read, scanned
from massgen.messages import Chunk

__all__ = ["BURST_SECONDS", "FORMAT", "MILESTONES", "Facts", "Log", "Sink", "line", "read", "redactor"]

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
MILESTONES = (Asked, Answered, Voted, Chosen, Presented, Stopped)
"""Facts that go to disk at once (fdatasync) and are there before the run is over. All survive a crash of the process the
moment they are recorded; these also one of the machine, milliseconds later."""

BURST_SECONDS = 0.001
"""How long a milestone waits for others to go to disk with it."""


class Sink(Protocol):
    """Something that follows a run: a display, an export, metrics. It only reads; one that raises is dropped and noted."""

    def fact(self, recorded: Recorded) -> None:
        """A fact was recorded."""
        ...

    def delta(self, agent: str, chunk: Chunk) -> None:
        """A piece of an agent's current model call arrived; it is shown now or never."""
        ...


class Log:
    """An open log. `facts` are those it held when it was opened; `clock` gives seconds since 1970."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, redact: Callable[[str], str] = lambda line: line
    ) -> None:
        self.path, self._clock, self._redact = path, clock, redact
        self._blobs = Blobs(path.parent / BLOBS)
        self._fd = _open(path)
        self._partly = False
        """Whether a fact may stand in the file in part, behind the last whole one."""
        try:
            _lock(self._fd, path)
            self.facts = self._recover()
        except BaseException:
            os.close(self._fd)
            raise
        self._seq = len(self.facts)
        self._disk = _Disk(self._fd, None if self._seq else path.absolute())

    def now(self) -> float:
        """The time of a fact that would be recorded now: seconds since 1970."""
        return round(self._clock(), 3)

    def append(self, fact: Fact) -> Recorded:
        """Record `fact`, without its secrets. Raises `LogError` if it cannot be written, or has more than 2**26 characters;
        the log then ends before it."""
        return self.append_all((fact,))[0]

    def append_all(self, facts: Sequence[Fact]) -> list[Recorded]:
        """Record `facts` as `append` does; whatever happens, the log has all of them or none."""
        at, last = self.now(), self._seq + len(facts)
        self._check_disk()
        lines: list[str] = []
        made: list[Recorded] = []
        for seq, fact in enumerate(facts, self._seq + 1):
            text, recorded = self._line(Recorded(seq, at, fact), more=seq < last)
            lines.append(text)
            made.append(recorded)
        self._write("".join(lines))
        self._seq = last
        if any(isinstance(fact, MILESTONES) for fact in facts):
            self._disk.sync_soon()
        return made

    def _line(self, recorded: Recorded, *, more: bool) -> tuple[str, Recorded]:
        """The line of a fact and the fact as it says: nobody is told more than the log."""
        try:
            fields = _fields(recorded, more=more)
            text = _JSON.encode(fields)
        except (ValueError, TypeError, RecursionError) as error:  # a setting that is no JSON, a number that is none
            raise LogError(f"a fact cannot be written: {error}", where=str(self.path)) from None
        if len(text) > LARGE or MARK in text:
            return self._without_texts(fields, recorded.seq)
        if (safe := self._redact(text)) != text:
            recorded = self._as_told(safe, recorded.seq, {})
        return safe + "\n", recorded

    def _without_texts(self, fields: dict[str, Any], seq: int) -> tuple[str, Recorded]:
        """The same for a fact with large texts, once those are on disk."""
        texts: dict[str, str] = {}

        def keep(text: str) -> dict[str, Any]:
            safe = self._redact(text)
            instead = reference(safe)
            texts[instead["$blob"]] = safe
            return instead

        safe = self._redact(_JSON.encode(taken_out(fields, keep)))
        if (size := len(safe) + sum(map(len, texts.values()))) > MAX_FACT:
            why = f"a fact has {size:,} characters, more than the {MAX_FACT:,} that are kept"
            raise LogError(why, where=str(self.path))
        recorded = self._as_told(safe, seq, texts)
        try:
            for text in texts.values():
                self._blobs.keep(text)
        except OSError as error:
            raise _unwritable(self._blobs.folder, error) from None
        return safe + "\n", recorded

    def _as_told(self, safe: str, seq: int, texts: Mapping[str, str]) -> Recorded:
        try:
            return parsed(_bytes(safe), seq, self.path, lambda name, chars: texts[name])[0]
        except LogError as error:
            why = f"a fact cannot be written: without the secrets in it, {error.what}"
            raise LogError(why, where=str(self.path), fix="Choose a secret that is no word of the log's.") from None

    def settle(self) -> None:
        """Wait until every milestone is on disk. Raises `LogError` if one cannot be brought there."""
        self._disk.settle()
        self._check_disk()

    def close(self) -> None:
        """Wait until every milestone is on disk, then let go of the file. Harmless when called twice."""
        if self._fd >= 0:
            self._disk.close()
            os.close(self._fd)
            self._fd = -1
            self._check_disk()

    def _check_disk(self) -> None:
        if self._disk.error:
            raise _unwritable(self.path, self._disk.error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recover(self) -> Facts:
        data = content(self.path)
        facts = scanned(data, self.path) if b"\n" in data else None
        self._size = 0 if facts is None else facts.size
        if torn := data[self._size :]:
            self._set_aside(torn)
        if facts is None:
            self._write(json.dumps({"massgen": "session log", "format": FORMAT}) + "\n")
        return read(self.path) if facts is None else facts

    def _set_aside(self, torn: bytes) -> None:
        try:
            with open(self.path.with_suffix(".torn"), "ab", opener=_owner_only) as file:
                file.write(torn)
                file.flush()
                os.fsync(file.fileno())  # before it leaves the log
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def _write(self, text: str) -> None:
        data = _bytes(text)
        try:
            if self._partly:
                os.ftruncate(self._fd, self._size)
            self._partly = True
            written = os.write(self._fd, data)
            while written < len(data):  # a full disk takes a part, then refuses
                written += os.write(self._fd, data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # else it is taken back before the next fact
                os.ftruncate(self._fd, self._size)
            raise _unwritable(self.path, error) from None
        self._size += len(data)
        self._partly = False


class _Disk:
    """Brings a file to disk in a thread of its own, for that takes milliseconds; what comes in a burst goes together."""

    def __init__(self, fd: int, new: Path | None) -> None:
        """`new`: the file's path, if its name may not be on disk yet."""
        self.error: OSError | None = None
        self._fd, self._new = fd, new
        self._thread = ThreadPoolExecutor(1, "log")
        self._asked = False
        self._closing = threading.Event()

    def sync_soon(self) -> None:
        if not self._asked:
            self._asked = True
            self._thread.submit(self._sync)

    def settle(self) -> None:
        self._thread.submit(lambda: None).result()  # behind all that was asked for

    def close(self) -> None:
        self._closing.set()
        self._thread.shutdown()

    def _sync(self) -> None:
        self._closing.wait(BURST_SECONDS)
        self._asked = False  # what is written from here on may come too late for this one
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)
            if self._new:
                _sync_names(self._new)
                self._new = None
        except OSError as error:
            self.error = error


def _sync_names(path: Path) -> None:
    """Bring the names of the new file `path` and its folder to disk, and of those above that hold nothing else: new ones, too."""
    for depth, folder in enumerate(path.parents):
        if not os.access(folder, os.R_OK | os.W_OK):  # so we made nothing in it
            return
        sync_folder(folder)
        if depth and len(os.listdir(folder)) > 1:
            return


def line(recorded: Recorded) -> str:
    """A fact as one line of JSON with all its texts, without the line's end."""
    return _JSON.encode(_fields(recorded))


def _fields(recorded: Recorded, *, more: bool = False) -> dict[str, Any]:
    first: dict[str, Any] = {"seq": recorded.seq, "at": recorded.at}
    return {**first, **({"more": True} if more else {}), **encode(recorded.fact)}


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # a lone surrogate as JSON's own \ud800


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None


def _lock(fd: int, path: Path) -> None:
    try:
        if hold(fd, patience=PATIENCE):
            return
    except OSError as error:
        fix = "Keep sessions on a file system that knows locks: set MASSGEN_HOME to a folder of one."
        raise LogError(f"cannot be locked: {error.strerror or error}", where=str(path), fix=fix) from None
    raise LogError("another process is writing this session", where=str(path), fix="Wait for it to end.")


def _unwritable(path: Path, error: OSError) -> LogError:
    return LogError(
        f"cannot be written: {error.strerror or error}",
        where=str(path),
        fix="Free some space or allow writing there, or set MASSGEN_HOME to another folder.",
    )


def redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that takes every one of `secrets` out of a line, as it is or as JSON writes it."""
    long = [secret for secret in secrets if len(secret) >= 8]
    written = [json.dumps(secret, ensure_ascii=plain)[1:-1] for secret in long for plain in (True, False)]
    known = sorted({*long, *written}, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in known:
            text = text.replace(secret, "[redacted]")
        return text

    return redact
