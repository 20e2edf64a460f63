"""Where sessions live: a folder each, named by time and chance, holding the session's log."""

import secrets
import time
from pathlib import Path

from massgen.errors import LogError
from massgen.paths import data_dir

LOG_NAME = "events.jsonl"


def create(root: Path | None = None, *, now: float | None = None) -> Path:
    """A new session's folder under `root` (default: `sessions` in the data folder), readable by its owner only."""
    root = root or data_dir() / "sessions"
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(time.time() if now is None else now))
    folder = root / f"{stamp}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise LogError(
            f"the session's folder cannot be made: {error.strerror or error}",
            where=str(folder),
            fix="Free some space or allow writing there, or set MASSGEN_HOME to another folder.",
        ) from None
    return folder
