"""Sessions of several processes: real runs of scripted teams that are asked, interrupted, killed and taken up again.

`python -m tests.conversations` writes those that are kept in `tests/golden`, but none that is there: such files never change.
"""

import asyncio
import contextlib
import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from massgen import prompts
from massgen.agents.tools import Tools
from massgen.backends import Request, Tool
from massgen.coordination import Rules
from massgen.events import Asked, Member, Recorded, Resumed, Stopped, TurnFailed
from massgen.log import FORMAT, Log, Sink, line, read
from massgen.messages import Chunk, Finish, ToolCallDelta, Usage
from massgen.orchestrator import Orchestrator, Times
from massgen.state import State
from massgen.testing import says
from massgen.toolbox import Offered, Returned, Toolbox
from tests.facts import START
from tests.stage import Actor, Cue, agents, play
from tests.test_truths import NAMES, cues, rules, times

GOLDEN = Path(__file__).parent / "golden"
BETWEEN = 3600.0
"""Seconds from the end of a process to the next one."""


@dataclass
class Speaker(Actor):
    """An actor that has a summary to tell, too."""

    summary: str = "They talked about Canberra."

    async def _reply(self, request: Request) -> Sequence[Chunk]:
        if prompts.SUMMARISE in request.messages[0].text:
            await asyncio.sleep(1.0)
            return [*says(self.summary)]
        return await super()._reply(request)


def speaker(text: str, *cues: Cue, model: str = "actor", summary: str = "They talked about Canberra.") -> Speaker:
    return Speaker([*cues], text, model, summary=summary)


Use = tuple[str, Mapping[str, Any] | str]
"""A tool and its arguments: a text is sent as it is."""


@dataclass
class Worker(Speaker):
    """A speaker that uses tools first: in each model call those of the next round, of which an empty one is none."""

    rounds: list[Sequence[Use]] = field(default_factory=list[Sequence[Use]])

    async def _reply(self, request: Request) -> Sequence[Chunk]:
        if not (self.rounds and (uses := self.rounds.pop(0))):
            return await super()._reply(request)
        await asyncio.sleep(1.0)
        number = sum(bool(message.tool_calls) for message in request.messages)
        texts = [given if isinstance(given, str) else json.dumps(given) for _, given in uses]
        made = [
            ToolCallDelta(place, f"call_{number}_{place}", name, text)
            for place, ((name, _), text) in enumerate(zip(uses, texts, strict=True))
        ]
        return [*made, Usage(20, 8), Finish("tool_calls")]


def worker(text: str, *rounds: Sequence[Use]) -> Worker:
    return Worker([], text, rounds=[*rounds])


@dataclass
class Shelf:
    """Stands in for the tools of an agent; using one takes as many seconds as `delays` says, else one."""

    delays: Mapping[str, float] = field(default_factory=dict[str, float])
    used: list[str] = field(default_factory=list[str])

    async def offered(self) -> Sequence[Offered]:
        path = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
        return (
            Offered(Tool("read_file", "Read a file.", path)),
            Offered(Tool("search", "Search the web.", {"type": "object", "properties": {"query": {"type": "string"}}})),
            Offered(Tool("write_file", "Write a file.", path), "write", own=True),
            Offered(Tool("send_mail", "Send a mail.", {"type": "object", "properties": {}}), "irreversible"),
        )

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        self.used.append(name)
        await asyncio.sleep(self.delays.get(name, 1.0))
        if arguments.get("path") == "missing.md":
            return Returned("There is no file missing.md.", is_error=True)
        return Returned(f"{name} of {', '.join(map(str, arguments.values()))}: Canberra was founded in 1913.")


Cast = Mapping[str, Actor]


def roster(cast: Cast) -> tuple[Member, ...]:
    return tuple(Member(name, "scripted", actor.model) for name, actor in cast.items())


@dataclass
class Session:
    """A log, and the time at which its next process begins."""

    path: Path
    rules: Rules = field(default_factory=Rules)
    times: Times = field(default_factory=Times)
    at: float = START
    box: Toolbox | None = None
    """Everyone's."""

    def ask(self, question: str, cast: Cast, *, window: int = 0, until: float | None = None, **config: Any) -> State:
        settings = {"orchestrator": config} if config else {}
        return self.process(Asked(question, roster(cast), config=settings, window=window), cast, until=until)

    def resume(self, cast: Cast, *, until: float | None = None, **config: Any) -> State:
        return self.process(Resumed(roster(cast), {"orchestrator": config} if config else {}), cast, until=until)

    def process(
        self, asked: Asked | Resumed, cast: Cast, *, until: float | None = None, sinks: Sequence[Sink] = ()
    ) -> State:
        """A process that is interrupted after `until` seconds, if it lasts so long."""

        async def scene() -> State:
            began, loop = self.at, asyncio.get_running_loop()
            with Log(self.path, clock=lambda: began + loop.time()) as log:
                team = {name: replace(agent, tools=Tools(self.box)) for name, agent in agents(cast).items()}
                run = Orchestrator(team, log, self.rules, self.times, [*sinks], random.Random(0))
                with contextlib.suppress(asyncio.CancelledError):
                    running = asyncio.ensure_future(run.run(asked))
                    if until is not None:
                        loop.call_later(until, running.cancel)
                    await running
            self.at = began + loop.time() + BETWEEN
            return run.state

        return play(scene())

    def kill(self) -> None:
        """As if the last process had been killed where it was interrupted: it could not say that it ended."""
        kept = self.facts
        assert kept[-1].fact == Stopped("interrupted")
        kept.pop()
        while isinstance(kept[-1].fact, TurnFailed) and kept[-1].fact.kind == "interrupted":
            kept.pop()
        save(kept, self.path)

    @property
    def facts(self) -> list[Recorded]:
        return [*read(self.path)]


def save(facts: Sequence[Recorded], path: Path) -> None:
    """`facts` as a log."""
    header = json.dumps({"massgen": "session log", "format": FORMAT})
    path.write_text("\n".join([header, *map(line, facts), ""]), "utf-8")


def three_questions(path: Path) -> Session:
    """Three questions; before the third, the first is summarised and the second told whole."""
    session = Session(path)
    first = "Canberra. Sydney and Melbourne were rivals, so it was founded in 1913 as a compromise between the two."
    session.ask(
        "What is the capital of Australia, and why is it not Sydney?",
        {"alice": speaker(first), "bob": speaker("Canberra, since 1913.")},
    )
    session.ask("How many people live there?", {"alice": speaker("About 470,000."), "bob": speaker("470,000 or so.")})
    session.ask(
        "And in Sydney?",
        {
            "alice": speaker("About 5.5 million.", summary="The capital is Canberra, a compromise."),
            "bob": speaker("5.5 million or so.", summary="Canberra is the capital."),
        },
        window=180,
    )
    return session


def taken_up(path: Path) -> Session:
    """Interrupted while two are at work, of which one was told to answer properly; then killed during the vote."""
    session = Session(path)
    lost = Cue("question")

    def cast(*cues: Sequence[Cue]) -> Cast:
        texts = ("Canberra: a compromise.", "Canberra, since 1913.", "It is Canberra.")
        return {
            name: speaker(text, *own) for name, text, own in zip(("alice", "bob", "carol"), texts, cues, strict=True)
        }

    slow = Cue("comply", delay=90.0)
    session.ask("What is the capital of Australia?", cast([], [lost, slow], [slow]), until=30.0)
    session.resume(cast([slow], [], []), until=30.0)
    session.kill()
    session.resume(cast([], [], []))
    return session


def other_team(path: Path) -> Session:
    """Interrupted when one has answered and one has failed; it goes on without the latter, with another model and with one
    more, by other rules."""
    session = Session(path)
    slow, refused = Cue("comply", delay=90.0), Cue("refused")
    first = {
        "alice": speaker("Canberra: a compromise."),
        "bob": speaker("Canberra, since 1913.", slow),
        "carol": speaker("", refused),
        "dave": speaker("It is Canberra.", slow),
    }
    session.ask("What is the capital of Australia?", first, until=30.0)
    session.rules = Rules(final_answer_strategy="winner_reuse", max_new_answers_per_agent=1)
    second = {
        "alice": speaker(""),
        "bob": speaker("Canberra, which parliament chose in 1908.", model="better"),
        "carol": speaker("Not Sydney, but Canberra."),
        "erin": speaker("Canberra, of course."),
    }
    session.resume(second, final_answer_strategy="winner_reuse", max_new_answers_per_agent=1)
    return session


def tools(path: Path) -> Session:
    """Tools are used side by side, wrongly, in vain, and until the run is interrupted; what was cut off is told."""
    session = Session(path, box=Shelf({"write_file": 90.0}))
    alice = worker(
        "Canberra, as the files say.",
        [("read_file", {"path": "notes.md"}), ("search", {"query": "capital of Australia"})],
        [],
        [],
        [("send_mail", {})],
    )
    bob = worker("Canberra, since 1913.", [("read_file", {"path": "notes.md"}), ("write_file", {"path": "draft.md"})])
    carol = worker("It is Canberra.", [("read_file", '{"path": ')], [("read_file", {"path": "missing.md"})])
    session.ask("What is the capital of Australia?", {"alice": alice, "bob": bob, "carol": carol}, until=30.0)
    session.box = Shelf()
    alice.rounds = alice.rounds[-2:]
    session.resume({"alice": alice, "bob": worker("Canberra, since 1913."), "carol": worker("It is Canberra.")})
    return session


PLANNING: dict[str, Any] = {"coordination": {"enable_agent_task_planning": True, "plan_scope": "team"}}


def plan(path: Path) -> Session:
    """A team's plan: made by one, worked at by all; what an agent that fails had taken is anyone's again. It outlasts its
    question."""
    session = Session(path, Rules(planning="team"))
    tasks = [
        {"id": "read", "description": "Read what there is", "priority": "high"},
        {"id": "check", "description": "Check the dates", "depends_on": ["read"]},
        {"id": "write", "description": "Write the answer", "depends_on": ["check"], "context": "In a sentence."},
    ]

    def moved(name: str, *states: str) -> list[Use]:
        return [("update_task_status", {"task_id": name, "status": status}) for status in states]

    alice = worker(
        "Canberra, by plan.",
        [("create_task_plan", {"tasks": tasks})],
        [*moved("read", "in_progress"), ("get_ready_tasks", {})],
        moved("read", "completed"),
        [],
        moved("check", "in_progress", "completed"),
    )
    bob = worker(
        "", [("get_task_plan", {})], [("get_task_plan", {})], [("get_task_plan", {})], moved("check", "in_progress")
    )
    bob.cues = [Cue("refused")]
    carol = worker("Canberra.", [("add_task", {"description": "Thank everybody", "id": "thanks", "parent": "none"})])
    session.ask("What is the capital of Australia?", {"alice": alice, "bob": bob, "carol": carol}, **PLANNING)
    alice = worker(
        "Canberra, as planned.", moved("write", "in_progress"), [("add_task", {"description": "Thank everybody"})]
    )
    alice.cues = [Cue("comply", delay=90.0)]
    session.ask("And in a sentence?", {"alice": alice, "carol": worker("Canberra.")}, until=30.0, **PLANNING)
    session.resume({"carol": worker("Canberra is it.")}, **PLANNING)
    return session


@dataclass(frozen=True)
class Process:
    """A process of a random session: what it is started for, with which team, and how it ends."""

    team: tuple[tuple[Cue, ...], ...]
    resumes: bool
    """Rather than asks, where there is something to go on with."""
    window: int
    model: str
    """Of every other agent."""
    rules: Rules
    times: Times
    until: float | None
    killed: bool

    @property
    def cast(self) -> Cast:
        return {
            NAMES[n]: Actor([*own], f"Answer {n} of its own.", self.model if n % 2 else "actor")
            for n, own in enumerate(self.team)
        }


processes = st.lists(
    st.builds(
        Process,
        team=st.lists(st.lists(cues, max_size=4).map(tuple), min_size=1, max_size=4).map(tuple),
        resumes=st.sampled_from([True, True, False]),
        window=st.sampled_from([0, 20, 20, 60]),
        model=st.sampled_from(["actor", "actor", "other"]),
        rules=rules,
        times=times,
        until=st.sampled_from([None, 0.0, 0.5, 1.5, 2.5, 30.0]),
        killed=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def performed(path: Path, processes: Sequence[Process]) -> tuple[list[Recorded], Callable[[Asked | Resumed], Rules]]:
    """The facts of `processes` one after the other, and the rules they had."""
    session, state = Session(path), State()
    for place, each in enumerate(processes):
        session.rules, session.times = each.rules, each.times
        cast, config = each.cast, {"place": place}
        asked = Asked(f"Question {place}?", roster(cast), config=config, window=each.window)
        goes_on = each.resumes and state.unfinished
        state = session.process(Resumed(roster(cast), config) if goes_on else asked, cast, until=each.until)
        if each.killed and state.stopped and state.stopped.why == "interrupted":
            session.kill()

    def find(fact: Asked | Resumed) -> Rules:
        return processes[int(fact.config["place"])].rules

    return session.facts, find


SESSIONS = {
    "three-questions": three_questions,
    "taken-up": taken_up,
    "other-team": other_team,
    "tools": tools,
    "plan": plan,
}


def write(folder: Path) -> None:
    for name, perform in SESSIONS.items():
        target = folder / f"format-1-{name}.jsonl"
        if not target.exists():
            with tempfile.TemporaryDirectory() as made:
                save(perform(Path(made) / "events.jsonl").facts, target)


if __name__ == "__main__":
    write(GOLDEN)
