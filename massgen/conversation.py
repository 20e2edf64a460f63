"""A session and its team: questions are put to it one after the other, and a run that was interrupted is finished."""

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from massgen import paths, sessions
from massgen.agents.tools import Approve
from massgen.approval import unasked
from massgen.attachments import attach
from massgen.backends.chat_completions import HttpPool
from massgen.config import Config, OrchestratorConfig
from massgen.config.loading import Loaded, environment
from massgen.continuing import template, window
from massgen.coordination import Rules
from massgen.display import Display
from massgen.equipping import equipped
from massgen.errors import Exit, LogError, UsageError
from massgen.events import Asked, Member, PlanChanged, Recorded, Resumed
from massgen.limits import keeping
from massgen.log import Facts, Log, Sink, read, redactor
from massgen.messages import Media
from massgen.orchestrator import Orchestrator, Times
from massgen.planning import Change
from massgen.resuming import standing
from massgen.state import GONE, State
from massgen.team import Progress, Team, build, quiet

MAX_QUESTION = 1_000_000
"""Characters; no model of today reads more in one message."""

Sinks: TypeAlias = Sequence[Sink] | Callable[[Path], Sequence[Sink]]
"""What follows a run, or what makes that for a session's folder as soon as there is one."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a question."""

    answer: str
    """The final answer; empty if there is none."""
    winner: str
    """The id of the agent it is by."""
    exit_code: Exit
    why: str
    """Why the run stopped: `answered`, `no answer`, `all failed`, `timeout`."""
    failures: Mapping[str, str]
    """Agent -> why it left the team."""
    session: Path
    """The session's folder."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """US dollars, of the calls whose price is known; None if none is."""
    notes: Sequence[str] = field(default_factory=tuple[str, ...])
    """What happened beside the run: displays and exports that were dropped, what replies taught about rate limits, servers of
    tools that could not be used, tools that nobody approved."""
    votes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Agent -> the counted votes for its answer, most first."""
    agents: Sequence[Member] = field(default_factory=tuple[Member, ...])
    """The team."""
    seconds: float = 0.0
    """From the question to the end."""


class Conversation:
    """A session with its team, as an async context manager: entering opens what the team needs, leaving closes it.

    `session` is the folder of one to go on with, None for a new one, which is made under `session_dir` with the first question.
    `config` is the team's configuration, or chooses it by where the session stands. `approve` is asked before an agent does
    what cannot be undone, where the configuration says that somebody is; without it that is not done, and noted.
    `loaded` is then that configuration, `team` the team, and `state` where the session stands.
    Entering raises `ConfigError`, `LocalModelError`, or `LogError` for a session that cannot be read or is being written.
    """

    loaded: Loaded
    team: Team

    def __init__(
        self,
        config: Loaded | Callable[[State], Loaded],
        *,
        session: Path | None = None,
        session_dir: Path | None = None,
        progress: Progress = quiet,
        approve: Approve | None = None,
    ) -> None:
        self.folder = session
        self.state = State()
        """Where the last question stands, and what was said before."""
        self._config, self._root, self._progress = config, session_dir, progress
        self._approve = approve or unasked(self._note)
        self._stack, self._lessons = AsyncExitStack(), list[str]()
        self._redact: Callable[[str], str] = str
        """Knows no secret before the team is built, when nothing is recorded yet."""
        self._place = session
        """The session's folder as soon as there is one: agents may need it before the first question."""
        self._log: Log | None = None
        self._run: Orchestrator | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._forget)
            if self.folder:
                self._open(stack, self.folder)
            self.loaded = self._config if isinstance(self._config, Loaded) else self._config(self.state)
            pool, env = await stack.enter_async_context(HttpPool()), environment()
            config = self.loaded.config
            limit = await stack.enter_async_context(keeping(self.loaded, env, self._lessons.append))
            tools = await stack.enter_async_context(
                equipped(config, self._approve, self._note, self._workspace, self._redacted, self.loaded)
            )
            self.team = await stack.enter_async_context(build(config, env, pool, self._progress, limit, tools))
            self._redact = redactor([*self.loaded.secrets, *self.team.secrets])
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ask(
        self,
        question: str,
        *,
        context: Sequence[str | Path] = (),
        media: Sequence[Media] = (),
        sinks: Sinks = (),
        plan: Change | None = None,
    ) -> Result:
        """Put the next question. One before it that has come to no answer is left as it is. `plan` is what the team works by
        from then on, instead of the one that it has, if it does so at all.

        Raises `UsageError` for what cannot be asked, and `LogError`. Cancelled, it can be finished later."""
        check_question(question)
        text, images = attach(question, context)
        folder = self._place = self._place or sessions.create(self._root)
        log = self._log or self._open(self._stack, folder)
        asked = Asked(
            text,
            self.team.roster,
            (*media, *images),
            self.source,
            paths.working_directory(),
            template(self.loaded),
            window(self.loaded.config, self.state.exchanges),
        )
        return await self._perform(asked, log, folder, sinks(folder) if callable(sinks) else sinks, plan)

    async def finish(self, *, sinks: Sinks = ()) -> Result:
        """Bring the question that has come to no answer to its end. Turns that were open are taken up: no model call that
        was recorded in them is made again. `sinks` are told first what there is.

        Raises `LogError`, also where there is nothing to finish."""
        if not (self.folder and self._log and self.state.unfinished):
            raise LogError("there is nothing to finish", where=str(self.folder or ""), fix="Ask a question.")
        followers = sinks(self.folder) if callable(sinks) else sinks
        return await self._perform(Resumed(self.team.roster, self.source), self._log, self.folder, followers)

    @property
    def root(self) -> Path:
        """Where its session is, or will be, among others."""
        return self._place.parent if self._place else self._root or sessions.folder()

    @property
    def facts(self) -> Sequence[Recorded]:
        """Those that the session held when it was opened."""
        return self._log.facts if self._log else []

    @property
    def source(self) -> Mapping[str, Any]:
        """The configuration for the record; a file that it names is found from elsewhere too."""
        limits = self.loaded.limits_file
        return {**self.loaded.source, **({"rate_limits": str(limits.absolute())} if limits else {})}

    def _open(self, stack: AsyncExitStack, folder: Path) -> Log:
        self._log = stack.enter_context(Log(folder / sessions.LOG_NAME, redact=self._redacted))
        self.folder, self.state = folder, standing(self._log.facts)
        return self._log

    def _workspace(self, agent: str) -> Path:
        """The agent's own folder, in the session's."""
        self._place = self._place or sessions.create(self._root)
        folder = self._place / "workspaces" / (agent if agent.strip(".") else f"agent{agent}")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _forget(self) -> None:
        """Leave no folder where nothing was asked."""
        if self._place and not self.folder:
            shutil.rmtree(self._place, ignore_errors=True)

    def _redacted(self, text: str) -> str:
        return self._redact(text)

    def _note(self, what: str) -> None:
        self._lessons.append(self._redact(what))

    async def _perform(
        self, asked: Asked | Resumed, log: Log, folder: Path, sinks: Sequence[Sink], plan: Change | None = None
    ) -> Result:
        config = self.loaded.config
        team, limits = self.team, times(config)
        run = self._run or Orchestrator(
            team.agents, log, rules(config.orchestrator), limits, dice=team.dice, timer=team.timer
        )
        self._run, run.sinks, run.notes = run, [*sinks], []
        if sinks and (self.state.plans or isinstance(asked, Resumed)):
            _catch_up(run, read(log.path), asked)
        began = time.monotonic()
        try:
            await run.run(asked, plan)
        finally:
            self.state = run.state
        await asyncio.to_thread(log.settle)  # an answer that is told is there for good
        lessons, self._lessons[:] = [*self._lessons], []
        return _result(self.state, folder, [*run.notes, *lessons], round(time.monotonic() - began, 3))


def _catch_up(run: Orchestrator, facts: Facts, asked: Asked | Resumed) -> None:
    """Tell what there is of a question that goes on, and displays how the plans stood before."""
    start = max(0, facts.last(Asked)) if isinstance(asked, Resumed) else len(facts)
    run.catch_up(facts.of(PlanChanged, stop=start), Display)
    run.catch_up(facts[start:])


def check_question(question: str) -> None:
    """Raises `UsageError` for what cannot be a question."""
    if not question.strip():
        raise UsageError("the question is empty", fix='Ask one: massgen "What is the capital of France?"')
    if len(question) > MAX_QUESTION:
        raise UsageError(
            f"the question has {len(question):,} characters, more than the {MAX_QUESTION:,} that are accepted",
            fix="Shorten it, or split it into several questions.",
        )
    if "\0" in question or re.search("[\ud800-\udfff]", question):
        raise UsageError("the question holds bytes that are not UTF-8, or NUL characters: it is not text")


def rules(config: OrchestratorConfig) -> Rules:
    """The rules that a configuration's `orchestrator` section asks for."""
    return Rules(
        max_new_answers_per_agent=config.max_new_answers_per_agent,
        answer_novelty_requirement=config.answer_novelty_requirement,
        first_answers=config.first_answers,
        stop=config.stop,
        skip_voting=config.skip_voting,
        final_answer_strategy=config.final_answer_strategy,
        max_restarts=config.coordination.max_orchestration_restarts,
        planning=config.coordination.plan_scope if config.coordination.enable_agent_task_planning else "off",
        max_tasks_per_plan=config.coordination.max_tasks_per_plan,
    )


def times(config: Config) -> Times:
    """The time limits of a configuration."""
    limits = config.timeout_settings
    return Times(limits.orchestrator_timeout_seconds, limits.turn_timeout_seconds, config.orchestrator.patience_seconds)


def _result(state: State, folder: Path, notes: Sequence[str], seconds: float) -> Result:
    presented, stopped = state.presented, state.stopped
    why = stopped.why if stopped else "interrupted"
    tally = sorted(state.chosen.tally.items(), key=lambda item: -item[1]) if state.chosen else []
    return Result(
        answer=presented.content if presented else "",
        winner=presented.agent if presented else "",
        exit_code=exit_code(why, answered=presented is not None),
        why=why,
        failures={seat.agent: seat.left for seat in state.seats.values() if seat.left and seat.left != GONE},
        session=folder,
        calls=state.spent.calls,
        input_tokens=state.spent.input_tokens,
        output_tokens=state.spent.output_tokens,
        cost=state.spent.cost,
        notes=tuple(notes),
        votes={state.authors[answer]: count for answer, count in tally},
        agents=state.asked.roster if state.asked else (),
        seconds=seconds,
    )


def exit_code(why: str, *, answered: bool) -> Exit:
    if why == "answered":
        return Exit.ANSWER
    return Exit.PARTIAL if answered else Exit.NO_ANSWER
