"""What was typed before: a file of the user's own, bounded, that several processes may add to at once.

Each entry is a line of JSON, written by one appending write. A file that has grown too long is replaced by its later half;
what another process adds in that very moment is lost, and nothing else.
"""

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from massgen.console import save

MAX_BYTES = 1_000_000
"""Of the file."""
MAX_ENTRIES = 1_000
MAX_ENTRY = 50_000
"""Characters; what is longer is remembered until the end only."""


@dataclass(slots=True)
class Past:
    """The entries in the file `path`, without secrets. `told` hears once that they cannot be kept."""

    path: Path
    redact: Callable[[str], str]
    told: Callable[[str], None]
    _failed: bool = False

    def read(self) -> list[str]:
        """The latest, earliest first. What is no entry is passed over."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_BYTES))
                lines = file.read(MAX_BYTES).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            self._fail(error)
            return []
        return [*filter(None, map(_entry, lines))][-MAX_ENTRIES:]

    def add(self, text: str) -> None:
        if len(text) > MAX_ENTRY:
            return
        try:
            if self._append(json.dumps(self.redact(text))) > MAX_BYTES:
                self._shorten()
        except OSError as error:
            self._fail(error)

    def _append(self, entry: str) -> int:
        """Returns the file's size."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab", opener=_owner_only) as file:
            os.write(file.fileno(), f"{entry}\n".encode())
            return os.fstat(file.fileno()).st_size

    def _shorten(self) -> None:
        kept, size = list[str](), 0
        for entry in map(json.dumps, reversed(self.read())):
            size += len(entry) + 1
            if size > MAX_BYTES // 2:
                break
            kept.insert(0, entry)
        save(str(self.path), "\n".join(kept))

    def _fail(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            self.told(f"{self.path}: what is typed is not kept: {error.strerror or error}")


def _owner_only(path: str, flags: int) -> int:
    fd = os.open(path, flags, 0o600)
    if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
        os.chmod(path, 0o600)
    return fd


def _entry(line: bytes) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return entry if isinstance(entry, str) else ""
