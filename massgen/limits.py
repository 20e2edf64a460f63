"""The rate limits of a run: which of its agents keep to them, and where it is counted what they use."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from massgen import builtins
from massgen.allowances import NUMBERS, Allowances, limited, price, seat
from massgen.backends import Backend, tokens
from massgen.backends.limited import REPLY, Limited, Terms, hear
from massgen.config import AgentConfig, Config
from massgen.config.loading import Loaded
from massgen.limiter import Limiter
from massgen.limiter.quotas import Limits, Profile
from massgen.limiter.stores import QuotaStore

Wrap: TypeAlias = Callable[[AgentConfig, Backend], Backend]
"""Puts an agent's backend under its limits."""
Tell: TypeAlias = Callable[[str], None]

_LASTING = ("rpd", "tpd", "cost")
"""Limits of periods that outlast a run."""


def unlimited(agent: AgentConfig, backend: Backend) -> Backend:
    """For teams that keep to no limits."""
    return backend


@asynccontextmanager
async def keeping(loaded: Loaded, env: Mapping[str, str], tell: Tell) -> AsyncGenerator[Wrap]:
    """What puts the agents of a configuration under their limits; `tell` hears what replies taught, once."""
    config, allowances = loaded.config, Allowances.of(loaded, tell)
    seats = {name: seat(agent.backend, env) for name, agent in config.named_agents.items()}
    profiles = [
        found.profile
        for name, agent in config.named_agents.items()
        if (found := allowances.find(seats[name].provider, seats[name].model)) and limited(config, agent, found)[0]
    ]
    if not profiles:
        yield unlimited
        return
    if any(map(_numbers, profiles)):
        tokens.preload()
    limiter = Limiter(
        allowances, store=_store(config, [each.limits for each in profiles], tell), waited=hear, told=tell
    )

    def wrap(agent: AgentConfig, backend: Backend) -> Backend:
        place = seat(agent.backend, env)
        if not limited(config, agent, allowances.find(place.provider, place.model))[0]:
            return backend

        def cost(taken: int, given: int) -> float:
            profile = allowances(place.provider, place.model)
            known = price(place.provider, place.model) if profile and profile.limits.cost is not None else None
            return known.of(taken, given) if known else 0.0

        def counted() -> bool:
            return _numbers(allowances(place.provider, place.model))

        longest = config.timeout_settings.turn_timeout_seconds
        terms = Terms(place.provider, place.model, place.scope, longest, _reply(agent), counted, cost)
        return Limited(backend, limiter, terms)

    try:
        yield wrap
    finally:
        await limiter.aclose()


def _numbers(profile: Profile | None) -> bool:
    """Whether a limit is known. Without one nothing is reserved, and a call is weighed by what it used."""
    return profile is not None and any(getattr(profile.limits, name) is not None for name in NUMBERS)


def _reply(agent: AgentConfig) -> int:
    backend = agent.backend.model_dump(exclude={"api_key"})
    options: Mapping[str, Any] = builtins.plan(agent.backend.type, backend).options
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    return next((value for name in names if isinstance(value := options.get(name), int)), REPLY)


def _store(config: Config, limits: list[Limits], tell: Tell) -> QuotaStore | None:
    """None: this process counts for itself."""
    match config.rate_limit_store:
        case "":
            lasting = any(getattr(each, name) is not None for each in limits for name in _LASTING)
        case "process":
            lasting = False
        case "machine":
            lasting = True
        case url:
            from massgen.limiter.stores.redis import Redis

            return Redis(url, told=tell)
    if not lasting:
        return None
    from massgen.limiter.stores.sqlite import Sqlite

    return Sqlite(told=tell)
