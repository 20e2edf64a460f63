"""Builds the team that a configuration describes: a backend for every agent, and the agents."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from massgen.agents import Agent
from massgen.agents.loop import LoopAgent
from massgen.agents.small import SmallAgent
from massgen.backends import Backend
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.constrained import Constrained
from massgen.backends.local import Local
from massgen.backends.local_server import LocalServer
from massgen.backends.providers import PROVIDERS, Provider, resolve_base_url, resolve_key
from massgen.config import AgentConfig, BackendConfig, Config
from massgen.errors import LocalModelError
from massgen.events import Member
from massgen.models import ensure, find

Progress: TypeAlias = Callable[[str, int, int], None]
"""What is being fetched, bytes done, bytes in all."""


def quiet(what: str, done: int, total: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True, slots=True)
class Team:
    """The agents by id, who they are for the record, and the keys they use."""

    agents: Mapping[str, Agent]
    roster: tuple[Member, ...]
    secrets: tuple[str, ...]


@asynccontextmanager
async def build(config: Config, pool: HttpPool, progress: Progress = quiet) -> AsyncGenerator[Team]:
    """The team of `config`, ready to be asked; leaving closes all it holds.

    Raises `ConfigError` for a missing key and `LocalModelError` where an embedded model is needed and cannot run."""
    builder = _Builder(config, pool)
    async with AsyncExitStack() as stack:
        await builder.start_local_servers(stack, progress)
        agents: dict[str, Agent] = {}
        for place, (name, agent) in enumerate(config.named_agents.items()):
            agents[name] = builder.agent(name, agent, place)
            stack.push_async_callback(agents[name].aclose)
        roster = tuple(
            Member(name, agent.backend.type, agent.backend.model) for name, agent in config.named_agents.items()
        )
        yield Team(agents, roster, tuple(builder.secrets))


class _Builder:
    def __init__(self, config: Config, pool: HttpPool) -> None:
        self.secrets: list[str] = []
        self._config, self._pool = config, pool
        self._servers: dict[str, LocalServer] = {}

    async def start_local_servers(self, stack: AsyncExitStack, progress: Progress) -> None:
        """One process for each embedded model, with a place for every agent that thinks with it."""
        wanted = [agent.backend.model for agent in self._config.agents if agent.backend.type == "local"]
        for name in dict.fromkeys(wanted):
            server = LocalServer(await _fetched(name, progress), slots=wanted.count(name))
            self._servers[name] = server
            stack.push_async_callback(server.aclose)
            await server.base_url()

    def agent(self, name: str, agent: AgentConfig, place: int) -> Agent:
        settings = agent.backend
        if settings.type == "local":
            model = find(settings.model)
            backend = Local(
                self._servers[settings.model], self._pool, model.name, seed=place + 1, options=_options(settings)
            )
            return SmallAgent(name, backend, system_message=agent.system_message, votes=model.votes)
        sensitivity = self._config.orchestrator.voting_sensitivity
        return LoopAgent(name, self._backend(settings), agent.system_message, sensitivity)

    def _backend(self, settings: BackendConfig) -> Backend:
        provider = PROVIDERS[settings.type]
        key = resolve_key(provider, settings.api_key.get_secret_value() if settings.api_key else None)
        self.secrets += [key] if key else []
        remote = self._direct if provider.wire == "chat_completions" else self._through_gateway
        backend = remote(settings, provider, key)
        return Constrained(backend) if settings.tool_calling == "json" else backend

    def _direct(self, settings: BackendConfig, provider: Provider, key: str | None) -> Backend:
        return ChatCompletions(
            self._pool,
            base_url=resolve_base_url(provider, settings.base_url),
            model=settings.model,
            api_key=key,
            key_name=next(iter(provider.key_variables), ""),
            options=_options(settings),
            stall_timeout=settings.stall_timeout_seconds,
        )

    def _through_gateway(self, settings: BackendConfig, provider: Provider, key: str | None) -> Backend:
        from massgen.backends.gateway import Gateway, preload

        preload()
        return Gateway(
            f"{provider.litellm_prefix}{settings.model}",
            api_key=key,
            base_url=resolve_base_url(provider, settings.base_url) or None,
            options=_options(settings),
            stall_timeout=settings.stall_timeout_seconds,
        )


def _options(settings: BackendConfig) -> dict[str, Any]:
    return settings.model_dump(
        include={"temperature", "top_p", "max_tokens", "seed", "stop", "extra_body"}, exclude_defaults=True
    )


async def _fetched(name: str, progress: Progress) -> Path:
    """The model's file, fetched in a thread that a cancelled run does not leave behind."""
    stopped = threading.Event()
    shown = find(name).name

    def report(done: int, total: int) -> None:
        if stopped.is_set():
            raise LocalModelError("the download was stopped", fix="It continues where it stopped, next time.")
        progress(shown, done, total)

    try:
        return await asyncio.to_thread(ensure, name, report)
    except asyncio.CancelledError:
        stopped.set()
        raise
