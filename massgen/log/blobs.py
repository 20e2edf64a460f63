"""Large texts of a session's facts: each in a file of its own beside the log, named by the SHA-256 of what it holds.

Where a fact has a text of more than `LARGE` characters, its line has `{"$blob": "<the file's name>", "chars": n}`. A key of
the fact's own that reads `$blob` is written as `$$blob`, that as `$$$blob`, and so on.
"""

import contextlib
import errno
import hashlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

LARGE = 65_536
"""Characters of a text that stands in the log itself, at most."""
MAX_FACT = 1 << 26
"""Characters of a whole fact, its large texts included, at most: twice the files that may go with a question."""
MARK = '$blob"'
"""In every line with a reference, or a key that could be taken for one."""

_NAME = re.compile("[0-9a-f]{64}")
_KEY = re.compile(r"\$+blob")


class BlobError(ValueError):
    """A text is not there, or not what it was."""


def taken_out(value: Any, keep: Callable[[str], dict[str, Any]]) -> Any:
    """The JSON `value` with what `keep` makes of every large text in the text's place."""
    if isinstance(value, str):
        return keep(value) if len(value) > LARGE else value
    if isinstance(value, list):
        return [taken_out(item, keep) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {f"${key}" if _KEY.fullmatch(key) else key: taken_out(item, keep) for key, item in fields.items()}
    return value


def put_back(value: Any, text: Callable[[str, int], str]) -> Any:
    """The JSON `value` as it was before `taken_out`; `text` has the texts, by name and length. Raises `BlobError`."""
    if isinstance(value, list):
        return [put_back(item, text) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    match cast("dict[str, Any]", value):
        case {"$blob": str(name), "chars": int(chars), **rest} if not rest:
            return text(name, chars)
        case {"$blob": _}:
            raise BlobError("a $blob needs its name and its length, and has nothing else")
        case fields:
            return {key[_KEY.fullmatch(key) is not None :]: put_back(item, text) for key, item in fields.items()}


def reference(text: str) -> dict[str, Any]:
    """What stands for `text` in a line."""
    return {"$blob": hashlib.sha256(_bytes(text)).hexdigest(), "chars": len(text)}


@dataclass(frozen=True, slots=True)
class Blobs:
    """The large texts in a folder, which is there from the first on."""

    folder: Path

    def text(self, name: str, chars: int) -> str:
        """The text of `chars` characters called `name`. Raises `BlobError`."""
        if not _NAME.fullmatch(name) or not 0 <= chars <= MAX_FACT:
            raise BlobError(f"there is no blob {name[:70]!r} of {chars} characters")
        try:
            data = self._read(name, 4 * chars)
        except OSError as error:
            raise BlobError(f"{self.folder.name}/{name}: {error.strerror or error}") from None
        text = data.decode("utf-8", "surrogatepass") if hashlib.sha256(data).hexdigest() == name else ""
        if len(text) != chars:
            raise BlobError(f"{self.folder.name}/{name} is not what was written there")
        return text

    def keep(self, text: str) -> None:
        """Bring `text` to disk, unless it is there; the file and its name last before this returns. Raises `OSError`."""
        data = _bytes(text)
        path = self.folder / hashlib.sha256(data).hexdigest()
        with contextlib.suppress(OSError):
            if self._read(path.name, len(data)) == data:
                return
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700)
            sync_folder(self.folder.parent)
        part = path.with_suffix(".part")
        try:
            _write(part, data)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        sync_folder(self.folder)

    def _read(self, name: str, size: int) -> bytes:
        """At most `size` bytes and one: what is larger, or has no end, is something else."""
        with open(self.folder / name, "rb", opener=_without_waiting) as file:
            return file.read(size + 1) or b""  # None: a pipe that has nothing to say


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half a character, as JSON may hold it, stays one


def _without_waiting(path: str, flags: int) -> int:
    """A pipe in the place of a file would wait for its writer for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _write(part: Path, data: bytes) -> None:
    part.unlink(missing_ok=True)  # of a process that died
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(part, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names of what is in `folder` to disk, where the file system can be told to."""
    if sys.platform == "win32":  # which keeps names without being asked, and opens no folders
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF):  # as a share says that does so by itself, or not at all
            raise
    finally:
        os.close(fd)
