"""A session as a text for people: each question with its answers, votes and final answer, in the order of the log."""

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from massgen.display.view import summary
from massgen.errors import LogError
from massgen.events import Answered, Asked, Recorded, TurnFailed
from massgen.exports.parts import ToolUse
from massgen.exports.transcript import Turn, turns
from massgen.streams import line

MAX_USES = 100
"""Uses of tools that are shown of a question."""
_FAILED = {"cancelled": "was no longer needed", "interrupted": "was interrupted"}


def shown(facts: Sequence[Recorded], folder: Path, name: str) -> str:
    """The session in `folder`, called `name`. Raises `LogError` for facts that cannot follow each other."""
    head = [f"session {folder.name}{f', {name}' if name else ''}", f"folder: {folder}"]
    parts: list[list[Recorded]] = []
    for each in facts:
        if isinstance(each.fact, Asked):
            parts.append([])
        if parts:
            parts[-1].append(each)
    try:
        found = turns(chain.from_iterable(parts)) if parts else []
    except LogError as error:
        raise LogError(f"its facts do not belong together: {error.what}", where=str(folder)) from None
    told = ["\n\n".join(_turn(turn, part)) for turn, part in zip(found, parts, strict=True)]
    return "\n\n".join(["\n".join(head), *(told or ["Nothing was asked in it."])])


def _turn(turn: Turn, facts: Sequence[Recorded]) -> Iterator[str]:
    """A question and what came of it."""
    team = ", ".join(f"{each.id} ({line(f'{each.backend} {each.model}', 80)})" for each in turn.members.values())
    yield f"# Question\n\n{turn.asked.question}"
    yield f"Asked {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(facts[0].at))}; team: {team}"
    yield from _tools(turn)
    yield from _answers(turn, facts)
    yield from _votes(turn)
    for final in turn.finals:
        back = "" if final.sent_back is None else f", sent back: {line(final.sent_back)}"
        yield f"## Final answer by {final.author}{back}\n\n{final.text}"
    yield "\n".join(summary(turn.view, facts[-1].at))


def _tools(turn: Turn) -> Iterator[str]:
    """Who used which tool, and with what; that it failed, if it did."""
    made = turn.tools.made
    if made:
        lines = [_use(each) for each in made[:MAX_USES]]
        if more := len(made) - len(lines):
            lines.append(f"- and {more} more: `massgen sessions export` has all")
        yield "## Tools\n\n" + "\n".join(lines)


def _use(use: ToolUse) -> str:
    state = "; it did not return" if use.result is None else "; it failed" if use.is_error else ""
    return f"- {use.agent}: {use.name} {line(use.arguments, 200)}{state}"


def _answers(turn: Turn, facts: Sequence[Recorded]) -> Iterator[str]:
    for each in facts:
        match each.fact:
            case Answered(agent, _, content):
                yield f"## Answer {each.seq} by {agent}, after {turn.answers[each.seq].at:.1f} s\n\n{content}"
            case TurnFailed(agent, _, kind, cause):
                yield f"{agent} {_FAILED.get(kind, 'failed')}: {line(cause or kind)}"
            case _:
                pass


def _votes(turn: Turn) -> Iterator[str]:
    """Who voted for what and why; a vote that a newer answer made void is said to be."""
    lines: list[str] = []
    for vote in turn.votes:
        reason = f": {line(vote.reason)}" if vote.reason.strip() else ""
        void = "" if vote.counted else " (void)"
        lines.append(f"- {vote.voter} for answer {vote.answer.id} by {vote.answer.author}{void}{reason}")
    if lines:
        yield "## Votes\n\n" + "\n".join(lines)
