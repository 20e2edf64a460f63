"""What the interactive mode tells beside questions and answers: lines for a person, safe to print."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from massgen import sessions
from massgen.display.view import Use, duration, money
from massgen.streams import line

if TYPE_CHECKING:
    from massgen.config.loading import Loaded
    from massgen.conversation import Conversation, Result
    from massgen.events import Member
    from massgen.sessions.digest import Session

MAX_MEMBERS = 8
"""Agents that are named; what is more is counted."""
MAX_SESSIONS = 10


def team(roster: "Sequence[Member]") -> str:
    """`ada (gpt-6-luna), bob (gpt-6-sol)`."""
    named = [f"{member.id} ({line(member.model or member.backend, 60)})" for member in roster[:MAX_MEMBERS]]
    more = len(roster) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def recap(conversation: "Conversation", folder: Path) -> str:
    """What a conversation that goes on was about, and what is different now."""
    from massgen.continuing import changes, last, recovered, set_aside

    state = conversation.state
    torn = set_aside(conversation.facts)
    lines = [*([torn] if torn else []), f"session {folder.name} goes on, after:", *last(state)]
    if different := changes(state, conversation.team.roster, conversation.source):
        lines += ["what is different now:", *(f"  {line(each, 200)}" for each in different)]
    if state.unfinished:
        lines.append(f"{UNFINISHED}: {recovered(state)}")
    return "\n".join(lines)


UNFINISHED = "the last question has no answer yet; /retry goes on with it"


def outcome(result: "Result") -> str:
    """By whom, with which votes, and what it took."""
    votes = ", ".join(f"{agent} {count}" for agent, count in result.votes.items())
    use = Use(result.calls, cost=result.cost or 0, priced=0 if result.cost is None else result.calls)
    told = [
        f"{result.winner} won" if votes else f"by {result.winner}",
        *([f"votes: {votes}"] if votes else []),
        f"{use.calls} call{'s' * (use.calls != 1)}",
        *filter(None, [money(use)]),
        duration(result.seconds),
    ]
    return ", ".join(told)


def kept(folder: Path) -> "Session":
    """The session in `folder`, in short. Raises `LogError`."""
    from massgen.log import read
    from massgen.sessions.digest import digest

    return digest(folder.name, read(folder / sessions.LOG_NAME))


def tally(session: "Session") -> str:
    """`3 questions, $0.0120`."""
    count = f"{session.turns} question{'s' * (session.turns != 1)}"
    return ", ".join(filter(None, [count, session.price]))


def status(conversation: "Conversation") -> str:
    """Where the conversation stands. Raises `LogError`."""
    lines, folder = [f"team: {team(conversation.team.roster)}"], conversation.folder
    if folder is None:
        return "\n".join([*lines, "session: none before the first question"])
    named = f", {line(name)}" if (name := sessions.name(folder)) else ""
    lines += [f"session: {folder.name}{named}", f"folder: {line(str(folder))}", tally(kept(folder))]
    return "\n".join([*lines, *([UNFINISHED] if conversation.state.unfinished else [])])


def latest(root: Path, warn: Callable[[str], None]) -> str:
    """The latest sessions, each with its question and its team."""
    from massgen.commands import sessions_row
    from massgen.sessions.index import Index, consult

    found = sessions_row.latest(consult(root, Index.sessions, warn))[:MAX_SESSIONS]
    return "\n\n".join(sessions_row.Row.of(root, each).entry for each in found) or "there is no session yet"


def settings(loaded: "Loaded") -> str:
    """The configuration in force, secrets by the names of their variables."""
    import yaml

    profile = f", profile {loaded.profile}" if loaded.profile else ""
    origin = [f"# from {', which extends '.join(loaded.files)}{profile}"] if loaded.files else []
    return "\n".join([*origin, yaml.safe_dump(loaded.source, sort_keys=False, allow_unicode=True, width=100).rstrip()])
