"""Where massgen keeps its files: under `$MASSGEN_HOME` if that is set, else where the platform keeps such files."""

import os
from pathlib import Path


def config_dir() -> Path:
    """Where the user's own configuration is. The folder may not exist yet."""
    return _home("config") or _platform("user_config_path")


def data_dir() -> Path:
    """Sessions and what else must be kept. The folder may not exist yet."""
    return _home("data") or _platform("user_data_path")


def cache_dir() -> Path:
    """Models and what else can be fetched again. The folder may not exist yet."""
    return _home("cache") or _platform("user_cache_path")


def working_directory() -> str:
    """Empty if it was deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _home(name: str) -> Path | None:
    home = os.environ.get("MASSGEN_HOME")
    return Path(os.path.expanduser(home)).absolute() / name if home else None


def _platform(function: str) -> Path:
    import platformdirs  # 15 ms, not needed with MASSGEN_HOME

    return getattr(platformdirs, function)("massgen", appauthor=False)
