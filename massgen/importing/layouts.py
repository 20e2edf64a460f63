"""The folders that the public MassGen keeps (its versions 0.1.9 to 0.1.97): which is which, and what is in a session's.

`.massgen/sessions/ID/turn_N/{metadata.json,answer.txt}`, for a turn that was cancelled `partial_answers.json`; beside the turns
`winning_agents_history.json` and `SESSION_SUMMARY.txt`. The logs, which hold more, are `import_logs`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

from massgen.events import Member
from massgen.importing.files import Source
from massgen.importing.turns import UNKNOWN, Given, Turn
from massgen.streams import line

MAX_TURNS = 1_000
_BEGUN = re.compile(r"(?:session|log)_(\d{8}_\d{6}(?:_\d{1,6})?)")
_PART = re.compile(r"(turn|attempt)_(\d{1,6})")
_BLOCK = re.compile(r"^={80}\nTURN (\d{1,6})\b[^\n]*\n={80}\n", re.MULTILINE)
_FIELDS = re.compile(
    r"Timestamp: (?P<at>\S+)\n(?:Winning Agent: (?P<winner>[^\n]*)\n|Phase when cancelled: [^\n]*\n)"
    r"Task: (?P<task>.*?)\n(?:Workspace: |Selected Agent: |Agents with answers: )",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """A folder of the public MassGen. `others` are beside it, and are not meant."""

    kind: Literal["session", "logs"]
    root: Path
    others: int = 0


def layout(path: Path) -> Layout | None:
    """The session or the logs at `path`, or that `path` is a part of (a turn, an attempt); of several, the latest."""
    path = Path(os.path.abspath(path))
    for _ in range(2):
        if _PART.fullmatch(path.name) and path.is_dir():
            path = path.parent
    return _folder(path) or _latest(path)


def numbered(path: Path, what: str) -> list[tuple[int, str]]:
    """The folders `turn_1`, `turn_2`, ... in `path`, in order; or whatever `what` is instead of `turn`."""
    try:
        parts = [(_PART.fullmatch(each), each) for each in os.listdir(path)]
    except OSError:
        return []
    return sorted((int(part[2]), each) for part, each in parts if part and part[1] == what and (path / each).is_dir())


def _folder(path: Path) -> Layout | None:
    """What `path` is by what is in it."""
    if any(os.path.isfile(path / each) for each in ("SESSION_SUMMARY.txt", "winning_agents_history.json")):
        return Layout("session", path)
    for _, turn in numbered(path, "turn"):
        if any(os.path.isfile(path / turn / each) for each in ("metadata.json", "answer.txt", "partial_answers.json")):
            return Layout("session", path)
    flat = any(os.path.isfile(path / each) for each in ("execution_metadata.yaml", "coordination_events.json"))
    return Layout("logs", path) if flat or numbered(path, "turn") or numbered(path, "attempt") else None


def _latest(path: Path) -> Layout | None:
    """Of those in `.massgen`, or in one of its folders. Most are named by the time they were begun at."""
    for folder in (path / "sessions", path / "massgen_logs", path):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        own = folder != path or path.name in ("sessions", "massgen_logs")
        found = [folder / each for each in names if own or _BEGUN.match(each)]
        known = sorted((made for each in found if (made := _folder(each))), key=_begun)
        if known:
            return Layout(known[-1].kind, known[-1].root, len(known) - 1)
    return None


def _begun(made: Layout) -> tuple[float, str]:
    named = _BEGUN.match(made.root.name)
    return (time_of(named[1]) if named else 0.0) or made.root.stat().st_mtime, made.root.name


# --- what both kinds hold ---------------------------------------------------------------------------------------------


def name(value: object) -> str:
    """An agent's id, on one line; those that could be a path are nobody's."""
    told = line(value, 80).strip() if isinstance(value, str) else ""
    return UNKNOWN if told in ("", ".", "..") or re.search(r"[/\\]", told) else told


def time_of(value: object) -> float:
    """Seconds since 1970, of a number or of a local time as `2025-11-03T14:30:22.5` or `20251103_143022_500000`; 0 if none."""
    try:
        if isinstance(value, str):
            stamp = re.sub(r"^(\d{8})_(\d{6})(?:_(\d{1,6}))?$", r"\1T\2.\3", value).rstrip(".")
            value = datetime.fromisoformat(stamp).timestamp()
        seconds = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError, OSError):
        return 0.0
    return seconds if 0 < seconds < 32_503_680_000 else 0.0  # the year 3000


def turns_in(source: Source, what: str = "turn") -> list[tuple[int, Path]]:
    """The turns of `source` by number; those that are missing between them are noted."""
    found = numbered(source.root, what)
    if len(found) > MAX_TURNS:
        source.note(source.root, f"{len(found):,} turns; those after the first {MAX_TURNS:,} are left out")
    numbers = {number for number, _ in found}
    for number in range(1, min(max(numbers, default=0), MAX_TURNS)):
        if number not in numbers:
            source.note(source.root / f"{what}_{number}", "missing")
    return [(number, source.root / each) for number, each in found[:MAX_TURNS]]


# --- a session --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of a turn outside its own folder."""

    question: str = ""
    at: float = 0.0
    winner: str = ""


def session(source: Source) -> list[Turn]:
    """The conversation in the folder of a session. Of each turn there is the final answer alone."""
    summary = dict(_summary(source))
    winners = _winners(source)
    return [
        turn
        for number, folder in turns_in(source)
        if (turn := _turn(source, folder, summary.get(number, _Told()), winners.get(number, "")))
    ]


def _turn(source: Source, folder: Path, told: _Told, winner: str) -> Turn | None:
    metadata = source.data(folder / "metadata.json")
    question = metadata.get("task") if isinstance(metadata.get("task"), str) else told.question
    if not question:
        source.note(folder, "its question is told nowhere; the turn is left out")
        return None
    if not metadata:
        source.note(folder / "metadata.json", "the question is taken from SESSION_SUMMARY.txt instead")
    answer = source.text(folder / "answer.txt") or ""
    at = time_of(metadata.get("timestamp")) or told.at or source.changed(folder)
    if any((folder / each).is_dir() for each in ("workspace", "workspaces")):
        source.note(source.root, "files that agents made (workspace) are left out")
    team = _team(metadata.get("models"))
    if metadata.get("status") == "incomplete" or answer.startswith("[PARTIAL ANSWER - "):
        partial = tuple(_partial(source, folder, at))
        return Turn(str(question), at, team, partial, ended=at, end="interrupted")
    if not answer.strip():
        source.note(folder / "answer.txt", "no answer; the question is kept without one")
    won = name(metadata.get("winning_agent") or told.winner or winner)
    return Turn(str(question), at, team, winner=won, final=answer if answer.strip() else "", ended=at)


def _partial(source: Source, folder: Path, at: float) -> Iterator[Given]:
    """What agents had answered when the turn was cancelled."""
    for agent, told in source.data(folder / "partial_answers.json").items():
        match told:
            case {"answer": str(text)} if text.strip():
                yield Given(name(agent), at, text)
            case _:
                pass


def _team(models: object) -> tuple[Member, ...]:
    if not isinstance(models, dict):
        return ()
    known = cast("Mapping[str, Any]", models)
    return tuple(
        {name(each): Member(name(each), UNKNOWN, line(str(model), 80)) for each, model in known.items()}.values()
    )


def _summary(source: Source) -> Iterator[tuple[int, _Told]]:
    """What `SESSION_SUMMARY.txt` tells of each turn."""
    parts = _BLOCK.split((source.text(source.root / "SESSION_SUMMARY.txt") or "").replace("\r\n", "\n"))
    for number, body in zip(parts[1::2], parts[2::2], strict=True):
        if told := _FIELDS.match(body):
            yield int(number), _Told(told["task"], time_of(told["at"]), told["winner"] or "")


def _winners(source: Source) -> dict[int, str]:
    path = source.root / "winning_agents_history.json"
    found: dict[int, str] = {}
    for each in source.items(path):
        match each:
            case {"agent_id": str(agent), "turn": int(turn)}:
                found[turn] = agent
            case _:
                pass
    return found
