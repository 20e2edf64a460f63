"""A session as a text for people: each question with its answers, votes and final answer, in the order of the log."""

import time
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path

from massgen.display.view import View, summary
from massgen.errors import LogError
from massgen.events import Answered, Asked, Recorded, ToolCalled, ToolReturned, TurnFailed, Voted
from massgen.exports.parts import ToolUse, ToolUses
from massgen.streams import line

MAX_USES = 100
"""Uses of tools that are shown of a question."""


def shown(facts: Sequence[Recorded], folder: Path, name: str) -> str:
    """The session in `folder`, called `name`. Raises `LogError` for facts that cannot follow each other."""
    head = [f"session {folder.name}{f', {name}' if name else ''}", f"folder: {folder}"]
    starts = [place for place, each in enumerate(facts) if isinstance(each.fact, Asked)]
    try:
        turns = [_turn(facts[start:end]) for start, end in pairwise([*starts, len(facts)])]
    except LookupError as error:
        what = f"its facts do not belong together: {line(str(error), 80)} is named before it is there"
        raise LogError(what, where=str(folder)) from None
    return "\n\n".join(["\n".join(head), *(turns or ["Nothing was asked in it."])])


def _turn(facts: Sequence[Recorded]) -> str:
    """A question and what came of it."""
    view = View()
    for each in facts:
        view.fact(each)
    parts = _question(facts[0].at, view), _tools(facts), _answers(facts), _votes(facts, view), _end(facts, view)
    return "\n\n".join(chain.from_iterable(parts))


def _question(at: float, view: View) -> Iterator[str]:
    if asked := view.state.asked:
        team = ", ".join(f"{each.id} ({line(f'{each.backend} {each.model}', 80)})" for each in asked.roster)
        yield f"# Question\n\n{asked.question}"
        yield f"Asked {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}; team: {team}"


def _tools(facts: Sequence[Recorded]) -> Iterator[str]:
    """Who used which tool, and with what; that it failed, if it did."""
    uses = ToolUses()
    for each in facts:
        if isinstance(each.fact, ToolCalled | ToolReturned):
            uses.add(each.fact, each.at)
    if uses.made:
        lines = [_use(each) for each in uses.made[:MAX_USES]]
        if more := len(uses.made) - len(lines):
            lines.append(f"- and {more} more: `massgen sessions export` has all")
        yield "## Tools\n\n" + "\n".join(lines)


def _use(use: ToolUse) -> str:
    state = "; it did not return" if use.result is None else "; it failed" if use.is_error else ""
    return f"- {use.agent}: {use.name} {line(use.arguments, 200)}{state}"


def _answers(facts: Sequence[Recorded]) -> Iterator[str]:
    for each in facts:
        match each.fact:
            case Answered(agent, _, content):
                yield f"## Answer {each.seq} by {agent}, after {each.at - facts[0].at:.1f} s\n\n{content}"
            case TurnFailed(agent, _, kind, cause):
                yield f"{agent} failed: {line(cause or kind)}"
            case _:
                pass


def _votes(facts: Sequence[Recorded], view: View) -> Iterator[str]:
    """Who voted for what and why; a vote that a newer answer made void is said to be."""
    authors = {each.seq: each.fact.agent for each in facts if isinstance(each.fact, Answered)}
    votes = [(each.seq, each.fact) for each in facts if isinstance(each.fact, Voted)]
    last = {vote.agent: seq for seq, vote in votes}
    lines: list[str] = []
    for seq, vote in votes:
        counts = last[vote.agent] == seq and view.state.seats[vote.agent].vote is not None
        reason = f": {line(vote.reason)}" if vote.reason.strip() else ""
        void = "" if counts else " (void)"
        lines.append(f"- {vote.agent} for answer {vote.choice} by {authors[vote.choice]}{void}{reason}")
    if lines:
        yield "## Votes\n\n" + "\n".join(lines)


def _end(facts: Sequence[Recorded], view: View) -> Iterator[str]:
    if presented := view.state.presented:
        yield f"## Final answer by {presented.agent}\n\n{presented.content}"
    yield "\n".join(summary(view, facts[-1].at))
