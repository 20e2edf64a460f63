"""Our own MCP servers: our tools for agents that own their loop, and for any other client."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from massgen.planning.tools import Outcome

Call: TypeAlias = Callable[[str, str, Any], Outcome]
"""Agent, tool and arguments, any JSON -> what it came to, recorded. Called on the event loop, one call after the other: what it
does without waiting is done before the next. A `MassgenError` that it raises is told to the agent."""
MAX_MESSAGE = 4 * 2**20
"""Bytes of a request: the largest plan has fewer."""


@dataclass(frozen=True, slots=True)
class Attached:
    """Where one agent reaches its tools, by MCP over Streamable HTTP, with `token` as its bearer token."""

    url: str
    token: str = field(repr=False)
