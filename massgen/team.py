"""Builds the team that a configuration describes: a backend for every agent, and the agents."""

import random
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from massgen.agents import Agent
from massgen.agents.loop import LoopAgent
from massgen.backends import Backend
from massgen.backends.chat_completions import ChatCompletions, HttpPool
from massgen.backends.constrained import Constrained
from massgen.backends.providers import PROVIDERS, Provider, resolve_base_url, resolve_key
from massgen.config import AgentConfig, BackendConfig, Config
from massgen.events import Member

Progress: TypeAlias = Callable[[str, int, int], None]


def quiet(what: str, done: int, total: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True, slots=True)
class Team:
    """The agents by id, who they are for the record, and the keys they use."""

    agents: Mapping[str, Agent]
    roster: tuple[Member, ...]
    secrets: tuple[str, ...]
