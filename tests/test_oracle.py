"""The oracle objects: to each way of breaking a truth, in a log that was good before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from massgen.coordination import Rules
from tests.oracle import Limits, check
from tests.stage import Cue, Stage, actors, agents

Lines: TypeAlias = list[dict[str, Any]]


def only(lines: Lines, kind: str, which: int = 0) -> dict[str, Any]:
    return [line for line in lines if line["type"] == kind][which]


def last(lines: Lines, kind: str) -> dict[str, Any]:
    return only(lines, kind, -1)


def instead(lines: Lines, fact: str, which: int, **fields: Any) -> None:
    """Replaces a fact of a turn by another one of it."""
    line = only(lines, fact, which)
    kept = {key: line[key] for key in ("seq", "at", "agent", "turn")}
    line.clear()
    line.update(kept, **fields)


def another_winner(lines: Lines) -> None:
    answers = {line["seq"] for line in lines if line["type"] == "Answered"}
    last(lines, "Chosen")["answer"] = min(answers - {last(lines, "Chosen")["answer"]})


def a_vote_more(lines: Lines) -> None:
    tally = last(lines, "Chosen")["tally"]
    tally[next(iter(tally))] += 1


def seen_early(lines: Lines) -> None:
    opened = only(lines, "VotingOpened")
    lines.remove(opened)
    lines.insert(len(lines) - 1, opened)
    for seq, line in enumerate(lines, 1):
        line["seq"] = seq


def relabelled(lines: Lines) -> None:
    ballot = only(lines, "Informed")["ballot"]
    ballot["agent1"], ballot["agent2"] = ballot["agent2"], ballot["agent1"]


def a_label_left_out(lines: Lines) -> None:
    only(lines, "Informed")["ballot"].popitem()


def after_the_end(lines: Lines) -> None:
    lines.append({**lines[-1], "seq": len(lines) + 1})


def same_answer(lines: Lines) -> None:
    again, first = only(lines, "Answered", 2), only(lines, "Answered", 0)
    again["content"] = first["content"].upper()
    for line in lines:
        if line["type"] == "Said" and line["turn"] == again["turn"]:
            line["message"]["parts"] = [{"type": "Text", "text": again["content"]}]


CANCELLED = {"type": "TurnFailed", "kind": "cancelled", "cause": "no longer needed"}
RETRIED = {"type": "Retried", "cause": "HTTP 503", "delay": 1.0}

TAMPERING: dict[str, tuple[Callable[[Lines], Any], str]] = {
    "another winner": (another_winner, "not the winner"),
    "a vote more": (a_vote_more, "the tally is"),
    "a vote for the unseen": (lambda lines: last(lines, "Voted").update(choice=999), "was not shown"),
    "a vote missing": (lambda lines: instead(lines, "Voted", -1, **CANCELLED), "the tally is"),
    "no end": (lambda lines: lines.pop(), "did not stop"),
    "recorded after the end": (after_the_end, "after the end"),
    "a gap": (lambda lines: lines.pop(5), "not numbered"),
    "answers seen early": (seen_early, "before the vote was open"),
    "labels exchanged": (relabelled, "changed hands"),
    "an answer not shown": (a_label_left_out, "every current answer"),
    "an answer out of thin air": (
        lambda lines: only(lines, "Answered").update(content="Else"),
        "not what it said last",
    ),
    "a repeated answer": (same_answer, "repeats what it was shown"),
    "nothing presented": (lambda lines: last(lines, "Presented").update(content=" "), "nothing was presented"),
    "a turn left open": (lambda lines: instead(lines, "Presented", -1, **RETRIED), "left open"),
    "another's turn": (lambda lines: only(lines, "Answered").update(agent="b"), "another agent's turn"),
    "a refused reply taken": (lambda lines: instead(lines, "Said", 5, **RETRIED), "an act without a reply"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The log of a run in which one agent learns of another's second answer."""
    path = tmp_path / "events.jsonl"
    Stage(path, agents(actors((Cue("comply"), Cue("answer", 2)), (Cue("comply"), Cue("unknown", delay=5.0))))).run()
    check(path)
    return path


@pytest.mark.parametrize("how", TAMPERING)
def test_the_oracle_objects_to(how: str, path: Path) -> None:
    tamper, complaint = TAMPERING[how]
    header, *raw = path.read_text().splitlines()
    lines = [json.loads(line) for line in raw]
    tamper(lines)
    path.write_text("\n".join([header, *map(json.dumps, lines)]) + "\n")
    with pytest.raises(AssertionError, match=complaint):
        check(path)


def test_the_oracle_objects_to_an_answer_beyond_the_cap_and_to_a_choice_before_all_had_voted(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    cast = actors((Cue("comply"), Cue("answer", 2)), (), ())
    Stage(path, agents(cast), Rules(stop="decided")).run()
    check(path, Limits(decided=True))
    with pytest.raises(AssertionError, match="beyond the cap"):
        check(path, Limits(cap=1, decided=True))
