"""Sessions by what people call them."""

import shlex
import time
from pathlib import Path

import pytest

from massgen import sessions
from massgen.errors import LogError, UsageError
from massgen.file_lock import hold


def made(root: Path, *ids: str) -> Path:
    for each in ids:
        (root / each).mkdir(parents=True)
        (root / each / sessions.LOG_NAME).touch()
    return root


EARLY, LATE = "20260101-080000-aaaaaa", "20260102-080000-bbbbbb"


def test_a_session_is_found_by_id_by_what_its_id_begins_with_by_name_and_by_path(tmp_path: Path) -> None:
    root = made(tmp_path / "sessions", EARLY, LATE)
    (root / EARLY / sessions.NAME).write_text("trip to Lisbon\n")
    for reference in (EARLY, "20260101", "trip to Lisbon", str(root / EARLY), f"{root / EARLY}/{sessions.LOG_NAME}"):
        assert sessions.find(reference, root) == root / EARLY
    assert sessions.find("", root) == root / LATE
    assert sessions.ids(root) == [LATE, EARLY]


def test_what_a_session_is_told_to_be_called_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made(sessions.folder(), EARLY)
    made(tmp_path / "my own", LATE)
    monkeypatch.chdir(tmp_path / "my own")
    told = [sessions.folder() / EARLY, tmp_path / "my own" / LATE, Path("../my own") / LATE, Path(LATE)]
    for session in told:
        (reference,) = shlex.split(sessions.reference(session))
        assert sessions.find(reference).samefile(session)


def test_an_id_that_is_the_beginning_of_another_is_that_one(tmp_path: Path) -> None:
    root = made(tmp_path, EARLY, f"{EARLY}0")
    assert sessions.find(EARLY, root) == root / EARLY


def test_what_is_not_clear_is_told(tmp_path: Path) -> None:
    root = made(tmp_path / "sessions", EARLY, LATE)
    with pytest.raises(UsageError, match=f"'2026' may be {LATE}, {EARLY}"):
        sessions.find("2026", root)
    with pytest.raises(UsageError, match=r"(?s)there is no session 'trip'.*massgen sessions list"):
        sessions.find("trip", root)
    with pytest.raises(UsageError, match="there is no session yet"):
        sessions.find("", tmp_path / "nothing")
    for path in ("../elsewhere", f"{root / EARLY}/other.jsonl", "./"):
        with pytest.raises(UsageError, match=r"(?s)there is no session.*events\.jsonl"):
            sessions.find(path, root)


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path) -> None:
    (tmp_path / "sessions").write_text("a file")
    with pytest.raises(LogError, match="the sessions cannot be read"):
        sessions.find("x", tmp_path / "sessions")


def test_a_name_that_is_no_text_is_none(tmp_path: Path) -> None:
    root = made(tmp_path, EARLY)
    (root / EARLY / sessions.NAME).write_bytes(b"\xff\xfe")
    assert sessions.name(root / EARLY) == ""


def test_who_deletes_waits_for_whoever_only_asks_whether_the_session_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made(tmp_path, EARLY)
    asking = (root / EARLY / sessions.LOG_NAME).open("rb")
    assert hold(asking.fileno(), shared=True)

    def nap(seconds: float) -> None:
        asking.close()

    monkeypatch.setattr(time, "sleep", nap)
    with asking:
        sessions.delete(root / EARLY, root)
    assert sessions.ids(root) == []
