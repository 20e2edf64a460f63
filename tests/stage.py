"""A stage for whole runs: virtual time, actors that misbehave on cue, and a log that the oracle reads afterwards."""

import asyncio
import random
import selectors
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from massgen.agents import Agent
from massgen.agents.calls import Retry
from massgen.agents.loop import LoopAgent
from massgen.backends import Request
from massgen.coordination import Rules
from massgen.errors import BackendError
from massgen.events import Asked, Member, Recorded, Resumed
from massgen.log import Log, Sink
from massgen.messages import Chunk, Finish, ToolCallDelta
from massgen.orchestrator import Orchestrator, Times
from massgen.state import State
from massgen.testing import Scripted, calls, says

T = TypeVar("T")
QUESTION = "Why is the sky blue?"


class _Leap(selectors.DefaultSelector):
    """Waits no time at all: the loop's clock leaps to the next timer instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            assert timeout is not None, "nothing will ever happen again: the run hangs"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.leap = _Leap()
        super().__init__(self.leap)

    def time(self) -> float:
        return self.leap.now


def play(scene: Coroutine[Any, Any, T]) -> T:
    """The result of `scene`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(scene)


@dataclass(frozen=True)
class Cue:
    """What an actor does in one model call: wait `delay` seconds, then `act`; `n` picks among labels or texts."""

    act: str
    n: int = 0
    delay: float = 1.0


TEXTS = ("Scattering.", "  scattering", "Rayleigh scattering of short wavelengths", "The sea", "Dust and light", "")


def offered(request: Request) -> dict[str, list[str]]:
    """The tools of a request, the vote with its labels."""
    enums = {tool.name: tool.parameters["properties"].get("agent_id", {}).get("enum", []) for tool in request.tools}
    return {name: [*labels] for name, labels in enums.items()}


def comply(request: Request, n: int = 0, text: str = "Because of scattering.") -> Scripted:
    """What a good model does with `request`: answers where it must, else votes."""
    tools = offered(request)
    if labels := tools.get("vote"):
        return calls("vote", reason="It is right.", agent_id=labels[n % len(labels)])
    if "new_answer" in tools:
        return calls("new_answer", content=text)
    return calls("submit") if "submit" in tools else says(text)


def _both(request: Request, n: int) -> list[Chunk]:
    vote = (*calls("vote", reason="", agent_id="agent1"),)[0]
    assert isinstance(vote, ToolCallDelta)
    return [ToolCallDelta(1, "b", vote.name, vote.arguments), *calls("new_answer", content=TEXTS[n % len(TEXTS)])]


ACTS: dict[str, Callable[[Request, int], Scripted]] = {
    "comply": comply,
    "answer": lambda request, n: calls("new_answer", content=TEXTS[n % len(TEXTS)]),
    "ghost": lambda request, n: calls("vote", reason="", agent_id=f"agent{n + 7}"),
    "both": _both,
    "unknown": lambda request, n: calls("search", query="sky"),
    "text": lambda request, n: says(TEXTS[n % len(TEXTS)]),
    "question": lambda request, n: says("It is blue. Would you like me to go on?"),
    "empty": lambda request, n: [Finish("stop")],
    "thought": lambda request, n: says("<think>Let me see</think>"),
    "written": lambda request, n: says('{"name": "vote", "arguments": {"agent_id": "agent1", "reason": "good"}}'),
    "garbage": lambda request, n: [
        ToolCallDelta(0, "", "new_answer", ("{", "[1]", "[" * 9000, '{"content": 3}')[n % 4])
    ],
    "surrogate": lambda request, n: [ToolCallDelta(0, "s", "new_answer", f'{{"content": "\\ud800 {n}"}}')],
    "overloaded": lambda request, n: BackendError("HTTP 503", transient=True),
    "limited": lambda request, n: BackendError("HTTP 429", transient=True, retry_after=float(n)),
    "limited for long": lambda request, n: BackendError("HTTP 429", transient=True, retry_after=3600),
    "refused": lambda request, n: BackendError("HTTP 401: the key was refused"),
    "defect": lambda request, n: (KeyError("choices"), RuntimeError(""), ExceptionGroup("", [OSError()]))[n % 3],
    "restart": lambda request, n: calls("restart_orchestration", reason="Thin.", instructions="Explain."),
}


@dataclass
class Actor:
    """A backend that follows its cues, then complies."""

    cues: list[Cue] = field(default_factory=list)
    text: str = "Because of scattering."
    model: str = "actor"
    requests: list[Request] = field(default_factory=list)
    unfinished: int = 0
    """Model calls that were begun and neither ended nor were closed: must be 0 when a run is over."""
    watch: Callable[[Request], None] = lambda request: None

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        self.requests.append(request)
        self.watch(request)
        self.unfinished += 1
        try:
            for chunk in await self._reply(request):
                yield chunk
        finally:
            self.unfinished -= 1

    async def _reply(self, request: Request) -> Sequence[Chunk]:
        cue = self.cues.pop(0) if self.cues else Cue("comply")
        await asyncio.sleep(1e6 if cue.act == "hang" else cue.delay)
        if cue.act == "cancelled":
            raise asyncio.CancelledError
        reply = comply(request, cue.n, self.text) if cue.act == "comply" else ACTS[cue.act](request, cue.n)
        if isinstance(reply, Exception):
            raise reply
        return [*reply]

    async def aclose(self) -> None:
        """Nothing is held."""


@dataclass
class Stage:
    """A team, the rules, and where the log goes."""

    path: Path
    agents: Mapping[str, Agent]
    rules: Rules = field(default_factory=Rules)
    times: Times = field(default_factory=Times)
    sinks: Sequence[Sink] = ()
    seed: int = 0
    now: State = field(default_factory=State)
    """Where the run that is being performed stands."""

    @property
    def asked(self) -> Asked:
        return Asked(QUESTION, tuple(Member(name, "scripted", "actor") for name in self.agents))

    async def perform(self) -> Orchestrator:
        """Ask the question, or go on with the log's."""
        with Log(self.path, clock=lambda: 1_790_000_000.0) as log:
            orchestrator = self.orchestrator(log)
            orchestrator.sinks.insert(0, _Follow(self, orchestrator))
            state = orchestrator.state
            if state.asked is None:
                await orchestrator.run(self.asked)
            elif state.unfinished:
                await orchestrator.run(Resumed(self.asked.roster))
        return orchestrator

    def orchestrator(self, log: Log) -> Orchestrator:
        return Orchestrator(self.agents, log, self.rules, self.times, [*self.sinks], random.Random(self.seed))

    def run(self) -> State:
        return play(self.perform()).state


@dataclass
class _Follow:
    """Keeps `stage.now` up to date."""

    stage: Stage
    orchestrator: Orchestrator

    def fact(self, recorded: Recorded) -> None:
        self.stage.now = self.orchestrator.state

    def delta(self, agent: str, chunk: Chunk) -> None:
        pass


def actors(*cues: Sequence[Cue]) -> dict[str, Actor]:
    names = "abcdef"
    return {names[place]: Actor([*own], f"Answer number {place}.") for place, own in enumerate(cues)}


def agents(backends: Mapping[str, Any]) -> dict[str, LoopAgent]:
    return {name: LoopAgent(name, backend, retry=Retry(jitter=lambda: 1.0)) for name, backend in backends.items()}
