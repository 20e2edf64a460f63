"""Builds the team that a configuration describes: a backend for every agent, and the agents."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from massgen import builtins
from massgen.agents import Agent
from massgen.agents.loop import LoopAgent
from massgen.agents.tools import Tools
from massgen.backends import Backend
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.constrained import Constrained
from massgen.backends.providers import PROVIDERS, Provider, key_name, litellm_row, resolve_base_url, resolve_key
from massgen.backends.responses import RESPONSES
from massgen.backends.wire import CHAT
from massgen.config import AgentConfig, BackendConfig, Config
from massgen.errors import ConfigError
from massgen.events import Member
from massgen.limits import Wrap, unlimited
from massgen.orchestrator import Timer, until

if TYPE_CHECKING:
    from massgen.replay.restaging import Restaging

Progress: TypeAlias = Callable[[str, int, int], None]
"""What is being fetched, bytes done, bytes in all."""


def quiet(what: str, done: int, total: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True, slots=True)
class Team:
    """The agents by id, who they are for the record, the keys they use, and what orders their ballots and bounds
    their time."""

    agents: Mapping[str, Agent]
    roster: tuple[Member, ...]
    secrets: tuple[str, ...]
    dice: random.Random = field(default_factory=random.Random)
    timer: Timer = until


@asynccontextmanager
async def build(
    config: Config,
    env: Mapping[str, str],
    pool: HttpPool,
    progress: Progress = quiet,
    limit: Wrap = unlimited,
    tools: Mapping[str, Tools] | None = None,
) -> AsyncGenerator[Team]:
    """The team of `config`, ready to be asked; keys come from `env`, `limit` puts backends under their rate limits, and
    `tools` are those of the agents that have some. Leaving closes all it holds.

    Raises `ConfigError` for a missing key or recording, and `LocalModelError` where an embedded model is needed and cannot run."""
    builder = _Builder(config, env, pool, limit, tools or {})
    remote = builder.remote_agents()
    async with AsyncExitStack() as stack:
        agents = remote | await builder.local_agents(stack, progress)
        for agent in agents.values():
            stack.push_async_callback(agent.aclose)
        team = {name: agents[name] for name in config.named_agents}
        yield Team(team, builder.roster, tuple(builder.secrets), builder.dice, builder.timer)


class _Builder:
    def __init__(
        self, config: Config, env: Mapping[str, str], pool: HttpPool, limit: Wrap, tools: Mapping[str, Tools]
    ) -> None:
        self.secrets: list[str] = []
        self._config, self._env, self._pool, self._limit, self._tools = config, env, pool, limit, tools
        self._models: dict[str, str] = {}
        self._restaging: Restaging | None = None

    @property
    def roster(self) -> tuple[Member, ...]:
        named = self._config.named_agents.items()
        return tuple(Member(name, agent.backend.type, self._models[name]) for name, agent in named)

    @property
    def dice(self) -> random.Random:
        return self._restaging.dice if self._restaging else random.Random()

    @property
    def timer(self) -> Timer:
        return self._restaging.timer if self._restaging else until

    def remote_agents(self) -> dict[str, Agent]:
        """The agents that think elsewhere. Raises `ConfigError` with every key, address and recording that is missing."""
        agents: dict[str, Agent] = {}
        problems: list[str] = []
        for name, agent in self._config.named_agents.items():
            if agent.backend.type != "local":
                try:
                    agents[name] = self._remote_agent(name, agent)
                except ConfigError as error:
                    problems += [f"{name}: {problem}" for problem in error.problems]
        if problems:
            raise ConfigError(problems)
        return agents

    def _remote_agent(self, name: str, agent: AgentConfig) -> Agent:
        if agent.backend.type == "replay":
            return self._replayed_agent(name, agent.backend)
        self._models[name] = agent.backend.model
        sensitivity = self._config.orchestrator.voting_sensitivity
        backend = self._limit(agent, self._backend(agent.backend))
        tools = self._tools.get(name, Tools())
        return LoopAgent(name, backend, self._config.instructions(agent), sensitivity, tools=tools)

    def _replayed_agent(self, name: str, settings: BackendConfig) -> Agent:
        """It keeps to no limits: nobody is called."""
        if self._restaging is None:
            from massgen.replay.restaging import Restaging  # for nobody else

            self._restaging = Restaging(self._config, self._env)
        agent, member = self._restaging.agent(name)
        self._models[name] = settings.model or member.model
        return agent

    async def local_agents(self, stack: AsyncExitStack, progress: Progress) -> dict[str, Agent]:
        """The agents that think here; each model is fetched if need be, and runs in one process for all its agents."""
        local = {name: agent for name, agent in self._config.named_agents.items() if agent.backend.type == "local"}
        if not local:
            return {}
        from massgen.agents.small import SmallAgent
        from massgen.backends.local import Local
        from massgen.backends.local_server import LocalServer
        from massgen.models import ensure_async, find

        models = {name: find(agent.backend.model) for name, agent in local.items()}
        servers: dict[str, LocalServer] = {}
        for model in dict.fromkeys(models.values()):
            file = await ensure_async(model, lambda done, total, name=model.name: progress(name, done, total))
            servers[model.name] = LocalServer(file, slots=[*models.values()].count(model))
            stack.push_async_callback(servers[model.name].aclose)
            await servers[model.name].base_url()
        agents: dict[str, Agent] = {}
        for seed, (name, agent) in enumerate(local.items(), 1):
            model = models[name]
            self._models[name] = model.name
            backend = Local(servers[model.name], self._pool, model.name, seed, _plan(agent.backend).options)
            agents[name] = SmallAgent(name, backend, system_message=self._config.instructions(agent), votes=model.votes)
        return agents

    def _backend(self, settings: BackendConfig) -> Backend:
        provider = litellm_row(settings.model) if settings.type == "litellm" else PROVIDERS[settings.type]
        backend = (
            self._direct(settings, provider)
            if provider.wire == "chat_completions"
            else self._gateway(settings, provider)
        )
        return Constrained(backend) if settings.tool_calling == "json" else backend

    def _key(self, settings: BackendConfig, provider: Provider) -> tuple[str | None, str]:
        """The agent's key, and the variable it is from."""
        given = settings.api_key.get_secret_value() if settings.api_key else None
        key = resolve_key(provider, given, self._env)
        self.secrets += [key] if key else []
        return key, key_name(provider, given, self._env)

    def _direct(self, settings: BackendConfig, provider: Provider) -> Backend:
        key, variable = self._key(settings, provider)
        plan = _plan(settings)
        return ChatCompletions(
            self._pool,
            base_url=resolve_base_url(provider, settings.base_url, self._env),
            model=settings.model,
            api_key=key,
            key_name=variable,
            options=plan.options,
            stall_timeout=settings.stall_timeout_seconds,
            wire=RESPONSES if plan.responses else CHAT,
        )

    def _gateway(self, settings: BackendConfig, provider: Provider) -> Backend:
        from massgen.backends.gateway import Gateway, preload

        key, variable = self._key(settings, provider)
        preload()
        return Gateway(
            f"{provider.litellm_prefix}{settings.model}",
            api_key=key,
            base_url=resolve_base_url(provider, settings.base_url, self._env) or None,
            options=_plan(settings).options,
            stall_timeout=settings.stall_timeout_seconds,
            key_name=variable,
            key_page=provider.key_page,
        )


def _plan(settings: BackendConfig) -> builtins.Plan:
    return builtins.plan(settings.type, settings.model_dump(exclude={"api_key"}))
