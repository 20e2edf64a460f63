"""What every test stands on: a home of its own, no keys, no proxies."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.endswith(("_API_KEY", "_PROXY", "_proxy", "_API_BASE")) or name.startswith("MASSGEN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MASSGEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
