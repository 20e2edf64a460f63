from pathlib import Path

import platformdirs
import pytest

from massgen.paths import cache_dir, data_dir


def test_massgen_home_holds_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MASSGEN_HOME", str(tmp_path))
    assert (data_dir(), cache_dir()) == (tmp_path / "data", tmp_path / "cache")


def test_a_tilde_and_a_relative_home_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MASSGEN_HOME", "~/mine")
    assert data_dir() == tmp_path / "mine" / "data"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASSGEN_HOME", "here")
    assert cache_dir() == tmp_path / "here" / "cache"
    monkeypatch.setenv("MASSGEN_HOME", "~nobody-is-called-so/x")
    assert cache_dir() == tmp_path / "~nobody-is-called-so" / "x" / "cache"


@pytest.mark.parametrize("unset", [True, False])
def test_without_a_home_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, unset: bool) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MASSGEN_HOME", raising=False)
    if not unset:
        monkeypatch.setenv("MASSGEN_HOME", "")
    assert data_dir() == platformdirs.user_data_path("massgen", appauthor=False)
    assert cache_dir() == platformdirs.user_cache_path("massgen", appauthor=False)
