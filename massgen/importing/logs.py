"""The logs that the public MassGen keeps of its runs: every answer and every vote, in `.massgen/massgen_logs`.

`log_TIME/turn_N/attempt_M/` (older: without `attempt_M`, or without both) holds `execution_metadata.yaml` (question, team),
`coordination_events.json` (times, winner), for each act `AGENT/TIME/{answer.txt,vote.json}`, and `final/AGENT/answer.txt`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

from massgen.events import Member
from massgen.importing.files import Source
from massgen.importing.layouts import name, numbered, time_of, turns_in
from massgen.importing.turns import UNKNOWN, Act, Cast, Given, Turn
from massgen.streams import line

MAX_ACTS = 1_000
"""Of a turn; those after them are left out."""
_TIME = re.compile(r"\d{8}_\d{6}(_\d{1,6})?")


def logged(source: Source) -> list[Turn]:
    """The conversation in a folder of logs."""
    folders = [folder for _, folder in turns_in(source)] or [source.root]
    return [turn for folder in folders if (turn := _turn(source, folder))]


def _turn(source: Source, folder: Path) -> Turn | None:
    attempts = numbered(folder, "attempt")
    if len(attempts) > 1:
        source.note(folder, f"of its {len(attempts)} attempts the last is taken; the others were sent back")
    place = folder / attempts[-1][1] if attempts else folder
    told = source.yaml(place / "execution_metadata.yaml")
    events = source.data(place / "coordination_events.json").get("session_metadata")
    status = source.data(place / "status.json")
    known = cast("dict[str, Any]", events) if isinstance(events, dict) else {}
    question = _first_text(told.get("query"), known.get("user_prompt"), _within(status, "meta", "question"))
    if not question:
        source.note(place, "its question is told nowhere; the turn is left out")
        return None
    acts = _acts(source, place)
    at = _first_time(
        known.get("start_time"), told.get("timestamp"), *(each.at for each in acts[:1]), source.root.name[4:]
    )
    won = name(known.get("final_winner") or _within(status, "results", "winner"))
    winner, final = _final(source, [place / "final", folder / "final"], won)
    turn = Turn(
        question, at or source.changed(place), _team(told.get("config"), known.get("agent_ids")), acts, winner, final
    )
    return replace(turn, ended=_first_time(known.get("end_time")) or at, end="answered" if final else "interrupted")


def _within(value: object, *keys: str) -> object:
    for key in keys:
        value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
    return value


def _first_text(*values: object) -> str:
    return next((each for each in values if isinstance(each, str) and each.strip()), "")


def _first_time(*values: object) -> float:
    return next((at for each in values if (at := time_of(each))), 0.0)


def _team(config: object, ids: object) -> tuple[Member, ...]:
    """By the configuration, else the ids alone. No other setting is kept: it may hold a key."""
    agents = _within(config, "agents") or [_within(config, "agent")]
    team: dict[str, Member] = {}
    for each in cast("list[object]", agents) if isinstance(agents, list) else []:
        if (agent := name(_within(each, "id"))) != UNKNOWN:
            backend, model = (
                _first_text(_within(each, "backend", "type")),
                _first_text(_within(each, "backend", "model")),
            )
            team[agent] = Member(agent, line(backend, 80) or UNKNOWN, line(model, 80))
    known = map(name, cast("list[object]", ids)) if isinstance(ids, list) else ()
    return (*team.values(), *(Member(each, UNKNOWN, "") for each in dict.fromkeys(known) if each not in team))


def _final(source: Source, folders: Iterable[Path], winner: str) -> tuple[str, str]:
    """Who presented, and what."""
    for folder in folders:
        agents = source.folders(folder)
        for agent in [each for each in agents if name(each) == winner] or agents:
            if (text := source.text(folder / agent / "answer.txt") or "").strip():
                return name(agent), text
    return winner, ""


def _acts(source: Source, place: Path) -> tuple[Act, ...]:
    """In the order of time, of which the folders are named."""
    stamps = [
        (stamp, agent)
        for agent in source.folders(place)
        if agent not in ("final", "agent_outputs") and not numbered(place / agent, "attempt")
        for stamp in source.folders(place / agent)
        if _TIME.fullmatch(stamp)
    ]
    found = [*islice(_read(source, place, sorted(stamps)), MAX_ACTS + 1)]
    if len(found) > MAX_ACTS:
        source.note(place, f"the answers and votes after the first {MAX_ACTS:,} are left out")
    return tuple(found[:MAX_ACTS])


def _read(source: Source, place: Path, stamps: Iterable[tuple[str, str]]) -> Iterator[Act]:
    for stamp, agent in stamps:
        folder, at = place / agent / stamp, time_of(stamp)
        if (text := source.text(folder / "answer.txt") or "").strip():
            yield Given(name(agent), at, text)
        match source.data(folder / "vote.json"):
            case {"voted_for": str(author), **more}:
                revision = re.search(r"\.(\d{1,6})$", str(more.get("voted_for_label")))
                yield Cast(
                    name(agent), at, name(author), int(revision[1]) if revision else 0, _first_text(more.get("reason"))
                )
            case _:
                pass
