"""Tools beside the team's own acts: those of MCP servers, and Python functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from massgen.backends import Tool

Access: TypeAlias = Literal["read", "write", "irreversible"]
"""What a tool does to the world: nothing; what can be undone, in the agent's own workspace; what cannot be undone."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool that an agent may use. Its name, as models see it: `mcp__SERVER__TOOL`, or a function's own."""

    tool: Tool
    access: Access = "read"
    own: bool = False
    """Whether what it writes goes nowhere but to the agent's own workspace."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What came of a call, whole; as text, for that is what models read."""

    content: str
    is_error: bool = False


class Toolbox(Protocol):
    """The tools of one agent."""

    async def offered(self) -> Sequence[Offered]:
        """All of them, as they are now, in an order that stays. Starts what has to be started; what cannot be is left out, and
        noted."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        """Use the tool `name`, which was offered. Whatever goes wrong is a `Returned` that says so; nothing is raised but
        what cancels it."""
        ...
