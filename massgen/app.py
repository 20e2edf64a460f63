"""The composition root: a configuration and a question become a run, and the run a `Result`."""

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from massgen import examples, paths, sessions
from massgen.attachments import attach
from massgen.backends.chat_completions import HttpPool
from massgen.backends.providers import PROVIDERS
from massgen.config import Config, OrchestratorConfig, TimeoutSettings
from massgen.coordination import Rules
from massgen.errors import Exit, UsageError
from massgen.events import Asked, Member
from massgen.limits import keeping
from massgen.loading import Loaded, environment, load, parse
from massgen.log import Log, Sink, redactor
from massgen.messages import Media
from massgen.orchestrator import Orchestrator, Times
from massgen.state import State
from massgen.team import Progress, Team, build, quiet

MAX_QUESTION = 1_000_000
"""Characters; no model of today reads more in one message."""

Source: TypeAlias = str | Path | Mapping[str, Any] | Loaded | None
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
    """What happened beside the run: displays and exports that were dropped, what replies taught about rate limits."""
    votes: Mapping[str, int] = field(default_factory=dict[str, int])
    """Agent -> the counted votes for its answer, most first."""
    agents: Sequence[Member] = field(default_factory=tuple[Member, ...])
    """The team."""
    seconds: float = 0.0
    """From the question to the end."""


def run(question: str, config: Source = None, **options: Any) -> Result:
    """Ask a team: `arun` for code that runs no event loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(arun(question, config, **options))
    raise UsageError("massgen.run was called inside a running event loop", fix="Use `await massgen.arun(...)` there.")


async def arun(
    question: str,
    config: Source = None,
    *,
    profile: str = "",
    context: Sequence[str | Path] = (),
    media: Sequence[Media] = (),
    session_dir: Path | None = None,
    sinks: Sinks = (),
    progress: Progress = quiet,
) -> Result:
    """Ask a team of agents one question and return what came of it.

    `config` is a file, a mapping of the same shape, or None for the user's own configuration, else the embedded model's
    team; `profile` is one of its profiles. `context` are files of text, which become part of the question, and images,
    which go with it as `media` does. The session is kept in a new folder under `session_dir`.
    `progress(what, done, total)` follows the fetching of a model file, in bytes.
    Raises `ConfigError`, `UsageError`, `LocalModelError` or `LogError`; that no agent answered is a `Result`, not an error.
    """
    check_question(question)
    text, images = attach(question, context)
    loaded = resolve(config, profile)
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(HttpPool())
        env, lessons = environment(), list[str]()
        limit = await stack.enter_async_context(keeping(loaded, env, lessons.append))
        team = await stack.enter_async_context(build(loaded.config, env, pool, progress, limit))
        folder = sessions.create(session_dir)
        path = folder / sessions.LOG_NAME
        log = stack.enter_context(Log(path, redact=redactor([*loaded.secrets, *team.secrets])))
        orchestrator = _orchestrator(loaded, team, log, sinks(folder) if callable(sinks) else sinks)
        began = time.monotonic()
        state = await orchestrator.run(Asked(text, team.roster, (*media, *images), loaded.source))
        seconds = round(time.monotonic() - began, 3)
    return _result(state, folder, [*orchestrator.notes, *lessons], seconds)


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


def resolve(config: Source, profile: str = "") -> Loaded:
    """The configuration meant by `config`, in its `profile`. Without one: the user's own, else the embedded model's team,
    unless a key says that another is meant."""
    match config:
        case Loaded():
            return config
        case None:
            return load(own_config() or _embedded(), profile=profile)
        case str() | Path():
            return load(examples.find(str(config)) or Path(config), profile=profile)
        case _:
            return parse(config, profile=profile)


def own_config() -> Path | None:
    """The user's own configuration, if there is one. Never a file of the working directory, which may be anybody's."""
    file = paths.config_dir() / "config.yaml"
    return file if os.path.lexists(file) else None


def _embedded() -> Path:
    env = environment()
    keys = sorted({name for provider in PROVIDERS.values() for name in provider.key_variables if env.get(name)})
    if keys:
        raise UsageError(
            f"{keys[0]} is set, but no configuration says which model to pay for",
            fix="Make one: massgen init; or name the model: --model NAME. The embedded one needs no key: --backend local",
        )
    return examples.path("quickstart")


def timed(loaded: Loaded, seconds: float) -> Loaded:
    """`loaded` with `seconds` for the whole run, and no turn longer than that."""
    turn = min(seconds, loaded.config.timeout_settings.turn_timeout_seconds)
    limits = TimeoutSettings(orchestrator_timeout_seconds=seconds, turn_timeout_seconds=turn)
    config = loaded.config.model_copy(update={"timeout_settings": limits})
    return replace(loaded, config=config, source={**loaded.source, "timeout_settings": limits.model_dump()})


def _orchestrator(loaded: Loaded, team: Team, log: Log, sinks: Sequence[Sink]) -> Orchestrator:
    config = loaded.config
    return Orchestrator(team.agents, log, rules(config.orchestrator), times(config), [*sinks])


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
        failures={seat.agent: seat.left for seat in state.seats.values() if seat.left},
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
