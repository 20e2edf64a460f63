"""The append-only log of a session: one writer, one `os.write` a fact, brought to disk at every milestone.

The first line is a header with the format's version; each further line is one fact. A last line without its end was
never acknowledged and is set aside; anything else that cannot be read is an error, and nothing is overwritten.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from massgen.codec import DecodeError, decode, encode
from massgen.errors import LogError
from massgen.events import Answered, Asked, Chosen, Fact, Presented, Recorded, Stopped, Voted
from massgen.messages import Chunk

FORMAT = 1
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
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
        self._fd = _open(path)
        try:
            _lock(self._fd, path)
            self.facts = self._recover()
        except BaseException:
            os.close(self._fd)
            raise
        self._seq = len(self.facts)
        self._disk = _Disk(self._fd)

    def append(self, fact: Fact) -> Recorded:
        """Record `fact`, without its secrets. Raises `LogError` if it cannot be written; the log then ends before it."""
        recorded = Recorded(self._seq + 1, round(self._clock(), 3), fact)
        text = line(recorded)
        if (safe := self._redact(text)) != text:  # nobody is told more than the log
            recorded = _fact(safe.encode(errors="backslashreplace"), recorded.seq, self.path)
        self._check_disk()
        self._write(safe)
        self._seq = recorded.seq
        if isinstance(fact, MILESTONES):
            self._disk.sync_soon()
        return recorded

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

    def _recover(self) -> list[Recorded]:
        data = _bytes(self.path)
        whole = data[: data.rfind(b"\n") + 1]
        facts = _parse(whole, self.path) if whole else []
        self._size = len(whole)
        if torn := data[len(whole) :]:
            self._set_aside(torn)
        if not whole:
            self._write(json.dumps({"massgen": "session log", "format": FORMAT}))
        return facts

    def _set_aside(self, torn: bytes) -> None:
        try:
            with open(self.path.with_suffix(".torn"), "ab", opener=_owner_only) as file:
                file.write(torn)
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def _write(self, text: str) -> None:
        data = (text + "\n").encode(errors="backslashreplace")  # a lone surrogate as JSON's own \ud800
        try:
            written = os.write(self._fd, data)
            while written < len(data):  # a full disk takes a part, then refuses
                written += os.write(self._fd, data[written:])
        except OSError as error:
            os.ftruncate(self._fd, self._size)
            raise _unwritable(self.path, error) from None
        self._size += len(data)


class _Disk:
    """Brings a file to disk in a thread of its own, for that takes milliseconds; what comes in a burst goes together."""

    def __init__(self, fd: int) -> None:
        self.error: OSError | None = None
        self._fd = fd
        self._thread = ThreadPoolExecutor(1, "log")
        self._asked = False
        self._closing = threading.Event()

    def sync_soon(self) -> None:
        if not self._asked:
            self._asked = True
            self._thread.submit(self._sync)

    def close(self) -> None:
        self._closing.set()
        self._thread.shutdown()

    def _sync(self) -> None:
        self._closing.wait(BURST_SECONDS)
        self._asked = False  # what is written from here on may come too late for this one
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)
        except OSError as error:
            self.error = error


def line(recorded: Recorded) -> str:
    """A fact as one line of JSON, without the line's end."""
    fields: dict[str, Any] = {"seq": recorded.seq, "at": recorded.at, **encode(recorded.fact)}
    return _JSON.encode(fields)


def read(path: Path) -> list[Recorded]:
    """The facts in the log at `path`, without opening it for writing; a torn last line is left out."""
    data = _bytes(path)
    return _parse(data[: data.rfind(b"\n") + 1], path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror or error}", where=str(path)) from None


def _parse(data: bytes, path: Path) -> list[Recorded]:
    lines = data.split(b"\n")[:-1]  # never splitlines: text may hold other line ends
    _check_header(lines[0] if lines else b"", path)
    return [_fact(raw, number, path) for number, raw in enumerate(lines[1:], 1)]


def _check_header(raw: bytes, path: Path) -> None:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        header = None
    match header:
        case {"massgen": "session log", "format": int(version)} if version == FORMAT:
            return
        case {"massgen": "session log", "format": version}:
            raise LogError(
                f"format {version!r} is not one this version reads (it reads {FORMAT})",
                where=f"{path}:1",
                fix="Open it with the massgen that wrote it, or a newer one.",
            )
        case _:
            raise LogError("not a session log: the header line is missing or damaged", where=f"{path}:1")


def _fact(raw: bytes, number: int, path: Path) -> Recorded:
    try:
        fields = cast("dict[str, Any]", json.loads(raw))
        seq, at = fields.pop("seq"), fields.pop("at")
        recorded = decode(Recorded, {"type": "Recorded", "seq": seq, "at": at, "fact": fields})
        if recorded.seq != number:
            raise DecodeError(f"fact {recorded.seq} stands where fact {number} belongs")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise LogError(
            f"this line is damaged: {str(error)[:200]}",
            where=f"{path}:{number + 1}",
            fix="Nothing was changed. Restore the file from a copy, or cut it before this line to continue from there.",
        ) from None
    return recorded


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None


def _lock(fd: int, path: Path) -> None:
    """Hold the log for this process; the system lets go of it when the process ends, however it ends."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(fd, 1 << 40, os.SEEK_SET)  # a byte far behind the end, so that others can still read the rest
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise LogError("another process is writing this session", where=str(path), fix="Wait for it to end.") from None


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
