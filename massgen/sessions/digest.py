"""A session in short, and its texts: folds of its facts. Without facts at hand this imports nothing heavy."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:  # a warm index is read without the facts' classes, which cost more than all the rest
    from massgen.events import Fact, PlanChanged, Recorded, ToolCalled

Status: TypeAlias = Literal["answered", "no answer", "interrupted", "running"]


@dataclass(frozen=True, slots=True)
class Session:
    """A session in short. Of several turns: `question` is the first, `status` and `winner` are the last one's."""

    id: str
    at: float = 0.0
    """When it was first asked: seconds since 1970."""
    question: str = ""
    """Its beginning, on one line."""
    agents: tuple[tuple[str, str], ...] = ()
    """Each agent's id and model."""
    turns: int = 0
    status: Status = "interrupted"
    """`running` is for those who look at the session's lock: no log says so."""
    winner: str = ""
    cost: float | None = None
    """US dollars, of the calls whose price is known; None if none is."""
    price: str = ""
    """The same in words."""
    last: float = 0.0
    """When its last fact was recorded: seconds since 1970."""
    folders: tuple[str, ...] = ()
    """The working directories it was asked in, the first one first."""
    templates: tuple[str, ...] = ()
    """The files and `@examples/NAME` that its configurations were read from."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a session: `kind` is `question`, `answer`, `vote` (its reason), `final answer`, `summary` (of the questions and
    answers before it), `tool call` (its name and arguments; results are often whole files, which are somewhere else already)
    or `task` (of a plan)."""

    kind: str
    agent: str
    body: str


def digest(session: str, facts: "Sequence[Recorded]") -> Session:
    """The session called `session`, in short."""
    from massgen.events import Asked, Presented, Resumed, Spent, Stopped
    from massgen.figures import Use, money
    from massgen.streams import line

    found = [each.fact for each in _of(facts, Asked, Resumed, Spent, Presented, Stopped)]
    begun = [each for each in found if isinstance(each, Asked | Resumed)]
    asked = [each for each in begun if isinstance(each, Asked)]
    use = Use()
    for each in found:
        if isinstance(each, Spent):
            use.add(each)
    status, winner = _ended(found)
    return Session(
        id=session,
        at=facts[0].at if facts else 0.0,
        question=line(asked[0].question, 1_000) if asked else "",
        agents=tuple(dict.fromkeys((line(each.id, 80), line(each.model, 80)) for one in begun for each in one.roster)),
        turns=len(asked),
        status=status,
        winner=line(winner, 80),
        cost=round(use.cost, 6) if use.priced else None,
        price=money(use),
        last=facts[-1].at if facts else 0.0,
        folders=_distinct(each.folder for each in asked),
        templates=_distinct(each.template for each in asked),
    )


def _of(facts: "Sequence[Recorded]", *kinds: "type[Fact]") -> "Iterator[Recorded]":
    """Those of the classes `kinds`; of a file, no other is decoded."""
    from massgen.log.facts_file import Facts

    return facts.of(*kinds) if isinstance(facts, Facts) else (each for each in facts if isinstance(each.fact, kinds))


def _distinct(texts: "Iterable[str]") -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))


def texts(facts: "Sequence[Recorded]") -> Iterator[Text]:
    """All that people may look for in a session."""
    from massgen.events import Answered, Asked, PlanChanged, Presented, Summarised, ToolCalled, Voted

    planned: set[str] = set()
    for each in _of(facts, Asked, Answered, Voted, Presented, Summarised, ToolCalled, PlanChanged):
        match each.fact:
            case ToolCalled() | PlanChanged():
                yield from _worked(each.fact, planned)
            case Asked(question):
                yield Text("question", "", question)
            case Answered(agent, _, content):
                yield Text("answer", agent, content)
            case Voted(agent, _, _, reason):
                yield Text("vote", agent, reason)
            case Presented(agent, turn, content) if turn is not None:  # else it is an answer that is there already
                yield Text("final answer", agent, content)
            case Summarised(agent, _, _, content):
                yield Text("summary", agent, content)
            case _:
                pass


def _worked(fact: "ToolCalled | PlanChanged", planned: set[str]) -> Iterator[Text]:
    """Tools of plans only move or tell what is found as a task; of that, each text once: those `planned` were told."""
    from massgen.events import ToolCalled
    from massgen.planning.tools import TOOLS

    if isinstance(fact, ToolCalled):
        if all(fact.name != tool.name for tool in TOOLS):
            yield Text("tool call", fact.agent, f"{fact.name} {fact.arguments}")
        return
    for task in fact.tasks:
        body = "\n".join(filter(None, [task.description, task.context]))
        if body not in planned:
            planned.add(body)
            yield Text("task", fact.agent, body)


def _ended(facts: "Iterable[Fact]") -> tuple[Status, str]:
    """How the last turn ended, and who gave its final answer. One that goes on after it stopped has not ended."""
    from massgen.events import Asked, Presented, Resumed, Stopped

    status: Status = "interrupted"
    winner = ""
    for fact in facts:
        match fact:
            case Asked():
                status, winner = "interrupted", ""
            case Resumed():
                status = "interrupted"
            case Presented(agent):
                winner = agent
            case Stopped(why) if why != "interrupted":
                status = "answered" if winner else "no answer"
            case _:
                pass
    return status, winner
