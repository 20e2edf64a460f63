"""Reads a folder that others wrote: nothing outside it, nothing endless, nothing changed. What cannot be read is noted."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, cast

MAX_BYTES = 16_000_000
"""Of a file; a larger one is left out."""
MAX_YAML = 1_000_000
"""Of a file of YAML, which takes a second a megabyte."""
MAX_ENTRIES = 10_000
"""Of a folder; the rest is left out."""
MAX_NOTES = 50


@dataclass(slots=True)
class Source:
    """The folder or the file `root`; `notes` says what was left out of it, and why."""

    root: Path
    notes: list[str] = field(default_factory=list[str])

    def note(self, path: Path, what: str) -> None:
        text = f"{self._name(path)}: {what}"
        if text not in self.notes:
            self.notes.append(text)

    @property
    def told(self) -> tuple[str, ...]:
        """The notes, the first of them if they are many."""
        more = len(self.notes) - MAX_NOTES
        return (*self.notes[:MAX_NOTES], *([f"and {more} more that are like these"] if more > 0 else []))

    def folders(self, path: Path) -> list[str]:
        """The names of the folders in the folder `path`, in order."""
        try:
            with os.scandir(path) as entries:
                names = sorted(each.name for _, each in zip(range(MAX_ENTRIES + 1), entries, strict=False))
        except OSError:
            return []
        if len(names) > MAX_ENTRIES:
            self.note(path, f"more than {MAX_ENTRIES:,} entries; the rest is left out")
        return [each for each in names[:MAX_ENTRIES] if (path / each).is_dir() and self._inside(path / each)]

    def text(self, path: Path, limit: int = 0) -> str | None:
        """What is in the file; None if there is none, or none that can be read, which is noted. Bytes that are not UTF-8
        become U+FFFD."""
        data = self._bytes(path, limit or MAX_BYTES)
        if data is None:
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            self.note(path, "not all of it is UTF-8; what is not is shown as \ufffd")
            return data.decode("utf-8-sig", "replace")

    def data(self, path: Path) -> dict[str, Any]:
        """The JSON object in the file; empty if there is none that can be read, which is noted unless there is no file."""
        return self._object(path, self._json(path))

    def items(self, path: Path) -> list[Any]:
        """As `data`, of a list."""
        value = self._json(path)
        return cast("list[Any]", value) if isinstance(value, list) else []

    def yaml(self, path: Path) -> dict[str, Any]:
        """As `data`, of YAML."""
        import yaml

        untyped: Any = yaml
        text = self.text(path, MAX_YAML)
        if text is None:
            return {}
        try:
            return self._object(path, untyped.safe_load(text))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self.note(path, f"damaged: {' '.join(str(error).split())[:100]}")
            return {}

    def changed(self, path: Path) -> float:
        """When the file was last written; 0 if that cannot be told."""
        try:
            return path.stat().st_mtime
        except OSError:
            return 0.0

    def _json(self, path: Path) -> object:
        text = self.text(path)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError) as error:
            self.note(path, f"damaged: {str(error)[:100]}")
            return None

    def _object(self, path: Path, value: object) -> dict[str, Any]:
        if isinstance(value, dict):
            return cast("dict[str, Any]", value)
        if value is not None:
            self.note(path, "damaged: it holds no object")
        return {}

    def _bytes(self, path: Path, limit: int) -> bytes | None:
        try:
            if not self._inside(path):
                return None
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                self.note(path, "not a file; left out")
                return None
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.note(path, f"cannot be read: {getattr(error, 'strerror', None) or error}")
            return None
        if len(data) <= limit:
            return data
        self.note(path, f"larger than {limit // 1_000_000} MB; left out")
        return None

    def _inside(self, path: Path) -> bool:
        """Whether it is in the folder, links followed."""
        inside = PurePath(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root))
        if not inside:
            self.note(path, "a link that leads out of the folder; left out")
        return inside

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root.parent)) if path.is_relative_to(self.root) else str(path)
