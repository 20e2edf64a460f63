"""The composition root: a configuration and a question become a run, and the run a `Result`."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from massgen import examples, paths, sessions
from massgen.attachments import attach
from massgen.backends.providers import PROVIDERS
from massgen.config import TimeoutSettings
from massgen.config.limit_rules import entries
from massgen.config.loading import Loaded, environment, load, parse
from massgen.continuing import losses, recorded
from massgen.conversation import Conversation, Result, Sinks, check_question
from massgen.errors import UsageError
from massgen.messages import Media
from massgen.state import State
from massgen.team import Progress, quiet

__all__ = ["Result", "arun", "run"]

Source: TypeAlias = str | Path | Mapping[str, Any] | Loaded | None


def run(question: str = "", config: Source = None, **options: Any) -> Result:
    """Ask a team: `arun` for code that runs no event loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(arun(question, config, **options))
    raise UsageError("massgen.run was called inside a running event loop", fix="Use `await massgen.arun(...)` there.")


async def arun(
    question: str = "",
    config: Source = None,
    *,
    session: str | Path | None = None,
    profile: str = "",
    context: Sequence[str | Path] = (),
    media: Sequence[Media] = (),
    session_dir: Path | None = None,
    sinks: Sinks = (),
    progress: Progress = quiet,
) -> Result:
    """Ask a team of agents one question and return what came of it.

    `config` is a file, a mapping of the same shape, or None for the user's own configuration, else the embedded model's
    team; `profile` is one of its profiles, or of the file that a session is from. `context` are files of text, which become
    part of the question, and images, which go with it as `media` does. The session is kept in a new folder under `session_dir`.
    `session` names one to go on with instead: an id, the only id that begins so, a name, a path, or an empty text for the latest.
    What was asked and answered in it is told to the agents; without `config` it goes on with its own. A run of it that came
    to no answer is finished first, without a `question` it is all that is done.
    `progress(what, done, total)` follows the fetching of a model file, in bytes.
    Nobody is asked: what cannot be undone is done only where the configuration says `tool_approval: always`.
    Raises `ConfigError`, `UsageError`, `LocalModelError` or `LogError`; that no agent answered is a `Result`, not an error.
    """
    if session is None or question:
        check_question(question)
    text, images = attach(question, context)
    found = None if session is None else sessions.find(str(session), session_dir)

    def choose(state: State) -> Loaded:
        return resolve(config, profile) if config is not None else its_own(state, str(found), profile)

    chosen = choose if found else resolve(config, profile)
    async with Conversation(chosen, session=found, session_dir=session_dir, progress=progress) as conversation:
        if conversation.state.unfinished:
            check_losses(conversation)
            result = await conversation.finish(sinks=sinks)
            if not (question and result.answer):
                return result
        return await conversation.ask(text, media=(*media, *images), sinks=sinks)


def its_own(state: State, where: str, profile: str = "") -> Loaded:
    """The configuration that the session at `where` goes on with, unless another is named: the recorded one, or a `profile`
    of the file that this is from."""
    if not (state.asked and state.asked.config):
        return resolve(None, profile)
    return resolve(state.asked.template or None, profile) if profile else recorded(state, where)


def check_losses(conversation: Conversation) -> None:
    """Raises `UsageError` if the team cannot take up what the unfinished run has begun."""
    if lost := losses(conversation.state, conversation.team.roster):
        raise UsageError(
            f"the last question is not finished, and this team would lose a part of it: {'; '.join(lost)}",
            where=str(conversation.folder),
            fix="Finish it with the session's own configuration first: go on without another one.",
        )


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
    """`loaded` with `seconds` for the whole run, and no turn longer than that; what is recorded of it stays."""
    turn = min(seconds, loaded.config.timeout_settings.turn_timeout_seconds)
    limits = TimeoutSettings(orchestrator_timeout_seconds=seconds, turn_timeout_seconds=turn)
    config = loaded.config.model_copy(update={"timeout_settings": limits})
    return replace(loaded, config=config)


def planned(loaded: Loaded, scope: Literal["agent", "team"]) -> Loaded:
    """`loaded` with plans, each agent's own or the team's one."""
    settings = {"enable_agent_task_planning": True, "plan_scope": scope}
    coordination = loaded.config.orchestrator.coordination.model_copy(update=settings)
    orchestrator = loaded.config.orchestrator.model_copy(update={"coordination": coordination})
    said = entries(loaded.source.get("orchestrator"))
    source = {**said, "coordination": {**entries(said.get("coordination")), **settings}}
    return replace(
        loaded,
        config=loaded.config.model_copy(update={"orchestrator": orchestrator}),
        source={**loaded.source, "orchestrator": source},
    )
