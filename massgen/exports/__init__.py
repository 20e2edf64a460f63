"""A whole session as one document: data (JSON), Markdown, or a page (HTML) that loads nothing and runs nothing."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

from massgen.events import Recorded
from massgen.exports.page import written
from massgen.exports.parts import Event, ToolUse, Vote
from massgen.exports.transcript import MAX_HEADING, MAX_NOTE, Turn, turns
from massgen.figures import Use, duration
from massgen.log import FORMAT
from massgen.plan_words import Place, data, tree
from massgen.streams import line, safe

MAX_RESULT = 2_000
"""Characters of a tool's arguments, and of its result: what models read of them may be a thousand times as long."""

Form: TypeAlias = Literal["json", "md", "html"]

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|!&~])")


def rendered(facts: Sequence[Recorded], form: Form) -> str:
    """The session that `facts` are of.

    `json` holds all texts as the models wrote them, and is safe to print. `md` quotes the models' Markdown. `html` shows it as
    text: nothing in it is loaded, run or taken for markup. Raises `LogError` where facts contradict each other, or ask nothing.
    """
    found = turns(facts)
    match form:
        case "json":
            return _json(found)
        case "md":
            return "\n\n".join("\n\n".join(_markdown(turn)) for turn in found)
        case "html":
            return written(found)


def _json(found: Sequence[Turn]) -> str:
    last = found[-1]
    fields = {
        "facts_version": FORMAT,
        "question": last.asked.question,
        "winner": last.view.winner,
        "answer": last.final.text if last.final else "",
        "use": _use([turn.view.use for turn in found]),
        "turns": [_turn(turn) for turn in found],
    }
    text = json.dumps(fields, ensure_ascii=False, indent=2)
    return text.translate({ord(sign): json.dumps(sign)[1:-1] for sign in {*text} - {"\n"} if not safe(sign)})


def _turn(turn: Turn) -> dict[str, Any]:
    view, asked = turn.view, turn.asked
    state = view.state
    return {
        "question": asked.question,
        "asked_at": turn.when.isoformat(timespec="seconds"),
        "media": [{"kind": each.kind, "mime": each.mime, "name": each.name} for each in asked.media],
        "team": [
            {"id": each.id, "backend": each.backend, "model": each.model, "left": state.seats[each.id].left}
            | {"use": _use([view.lanes[each.id].use])}
            for each in turn.members.values()
        ],
        "resumed": [{"at": each.at} | asdict(each.change) for each in turn.resumptions],
        "summaries": [asdict(each) for each in turn.summaries],
        "answers": [
            {"id": each.id, "author": each.author, "attempt": each.attempt, "revision": each.revision}
            | {"at": each.at, "text": each.text}
            for each in turn.answers.values()
        ],
        "votes": [
            {"voter": each.voter, "answer": each.answer.id, "author": each.answer.author, "reason": each.reason}
            | {"at": each.at, "counted": each.counted}
            for each in turn.votes
        ],
        "tool_calls": [_use_of(each) for each in turn.tools.made],
        "plans": [data(name, plan) for name, plan in turn.plans.items()],
        "tally": view.tally,
        "winner": view.winner,
        "why": state.chosen.why if state.chosen else None,
        "finals": [
            {"author": each.author, "at": each.at, "text": each.text, "sent_back": each.sent_back}
            for each in turn.finals
        ],
        "answer": turn.final.text if turn.final else "",
        "stopped": state.stopped.why if state.stopped else None,
        "seconds": turn.seconds,
        "use": _use([view.use]),
    }


def _use_of(use: ToolUse) -> dict[str, Any]:
    cut = {"arguments": use.arguments[:MAX_RESULT], "result": None if use.result is None else use.result[:MAX_RESULT]}
    return asdict(use) | cut | {"result_characters": len(use.result or "")}


def _use(uses: Sequence[Use]) -> dict[str, float | None]:
    priced = sum(use.priced for use in uses)
    return {
        "calls": sum(use.calls for use in uses),
        "input_tokens": sum(use.input_tokens for use in uses),
        "output_tokens": sum(use.output_tokens for use in uses),
        "cost": round(sum(use.cost for use in uses), 8) if priced else None,
        "calls_with_known_cost": priced,
        "waited_seconds": round(sum(use.waited for use in uses), 3),
    }


def _markdown(turn: Turn) -> Iterator[str]:
    question = turn.asked.question
    yield f"# {_plain(question, MAX_HEADING)}"
    if len(" ".join(question.split())) > MAX_HEADING or "\n" in question.strip():
        yield _quoted(question)
    yield "\n".join(f"- {_plain(each)}" for each in turn.facts)
    for final in turn.finals:
        yield "## The final answer" if final.sent_back is None else "## A final answer that was sent back"
        yield _plain(final.by)
        yield _quoted(final.text)
    for summary in turn.summaries:
        yield "## The conversation before, in short"
        yield _plain(summary.by)
        yield _quoted(summary.text)
    yield "## The answers"
    for member in turn.members.values():
        yield f"### {_plain(member.id)} ({_plain(f'{member.backend} {member.model}', 80)})"
        left = turn.view.state.seats[member.id].left
        yield from [f"It left the team: {_plain(left)}"] if left else []
        for answer in turn.given(member.id):
            yield f"{_plain(turn.about(answer))}:"
            yield _quoted(answer.text)
    if turn.votes:
        yield "## The votes"
        yield "\n".join(map(_vote_line, turn.votes))
    for name, plan in turn.plans.items():
        yield f"## The plan{f' of {_plain(name)}' if name else ''}"
        yield "\n".join(map(_task_line, tree(plan))) or "It has no tasks."
    yield "## What happened when"
    events, more = turn.told
    yield "\n".join(map(_event_line, events))
    yield from [more] if more else []


def _vote_line(vote: Vote) -> str:
    what = f"{vote.voter} for {vote.answer.author}, answer {vote.answer.revision}{vote.void}"
    return f"- {_plain(what)}" + (f": {_plain(vote.reason)}" if vote.reason.strip() else "")


def _task_line(place: Place) -> str:
    mark = "x" if place.task.status == "completed" else " "
    task, notes = f"{place.task.id}: {place.task.description}", f": {_plain(place.notes)}" if place.notes else ""
    return f"{'  ' * place.level}- [{mark}] {_plain(task)} ({_plain(place.state)}){notes}"


def _event_line(event: Event) -> str:
    why = f": {_plain(event.why)}" if event.why.strip() else ""
    return f"- {duration(event.at)}: {_plain(f'{event.agent} {event.what}')}{why}"


def _plain(text: str, limit: int = MAX_NOTE) -> str:
    """`text` on one line, in which nothing is Markdown."""
    return _MARKS.sub(r"\\\1", line(text, limit))


def _quoted(text: str) -> str:
    """`text` as Markdown that cannot leave its quote."""
    return "\n".join(f"> {each}".rstrip() for each in safe(text).strip("\n").split("\n"))
