"""What a test asks of a provider's SDK, and what it hears: one face for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

KEY = "sk-test"
SYSTEM = "Be brief."

Tool: TypeAlias = tuple[str, Mapping[str, Any]]
"""Its name and the JSON Schema of its arguments."""


@dataclass(slots=True)
class Heard:
    """A reply as the SDK tells it."""

    whole: Any = None
    """What goes back into the conversation."""
    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Names and arguments."""
    ids: list[str] = field(default_factory=list)
    """Of the calls."""
    finish: Any = ""
    usage: tuple[int, int] = (0, 0)
    """Tokens in and out."""
    pieces: list[str] = field(default_factory=list)
    """The text as it came, where it was streamed."""


class Client:
    """A conversation with a model through an SDK whose retries are off. What it raises is the SDK's."""

    def __init__(self, url: str, *, key: str = KEY, model: str = "m", stream: bool = False, timeout: float = 8) -> None:
        self.stream, self.model, self.history = stream, model, list[Any]()
        self.tools: list[Any] = []
        self.sdk: Any = self.connect(url, key, timeout)

    async def ask(self, text: str = "Hello", /, *tools: Tool, **how: Any) -> Heard:
        """Say `text` and hear the reply; `how` is passed to the SDK."""
        self.tools = [self.tool(*tool) for tool in tools]
        self.history.append(self.question(text))
        return await self._hear(**how)

    async def tell(self, heard: Heard, *results: str) -> Heard:
        """Say what the tools called in `heard` have returned."""
        self.history += self.answered(heard, results)
        return await self._hear()

    async def _hear(self, **how: Any) -> Heard:
        return await (self.streamed(**how) if self.stream else self.whole(**how))

    async def aclose(self) -> None:
        await self.sdk.close()
