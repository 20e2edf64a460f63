"""What a simulated model says: a policy is a function from a parsed call to a reply. It knows no wire format."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Call:
    """A model call as every wire format tells it."""

    model: str
    key: str
    messages: tuple[Mapping[str, Any], ...]
    """The conversation, the system prompt first: `role` in OpenAI's words, `content` (and more) as the wire has it."""
    tools: Mapping[str, Mapping[str, Any]]
    """Name -> JSON Schema of the parameters."""
    schema: Mapping[str, Any] | None
    """What the reply's text must follow."""
    stream: bool
    include_usage: bool
    hosted: tuple[str, ...] = ()
    """The built-in tools that are offered, by the wire's own names."""

    @property
    def agent(self) -> tuple[str, str]:
        """Who calls: agents differ in their model's name, their key or both."""
        return self.model, self.key


@dataclass(frozen=True, slots=True)
class Act:
    """A tool call that the model makes; `arguments` is JSON text."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A built-in tool that the provider itself ran before the model spoke: a query or code, and what came of it."""

    kind: Literal["web_search", "code"]
    asked: str
    found: str = ""
    """The address of the page found, or what the code printed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is left of a rate limit, and the seconds until it is whole again."""

    requests: int = 50
    requests_left: int = 49
    tokens: int = 40_000
    tokens_left: int = 39_900
    reset: float = 1.5


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong. `after` counts events: 0 is before the response's headers, 1 after the headers and one event.

    `status` and `broken` (an error inside the stream) are worded by the wire, unless there is a `body`.
    """

    kind: Literal["status", "cut", "hang", "raw", "broken"]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    after: int = 0
    message: str = "simulated"
    code: str = ""
    """The wire's word for the error; empty: the usual one of its status."""
    retry_after: float | None = None
    """Seconds; said as the provider says it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says, and how it arrives. Delays in seconds."""

    text: str = ""
    reasoning: str = ""
    acts: tuple[Act, ...] = ()
    hosted: tuple[Hosted, ...] = ()
    finish: str = ""
    """In OpenAI's words. Empty: `tool_calls` if there are acts, else `stop`."""
    input_tokens: int = 7
    output_tokens: int = 5
    cost: float | None = None
    chunks: int = 1
    """Pieces that the text and the arguments of each act are cut into, as far as they have characters."""
    delay: float = 0
    chunk_delay: float = 0
    gate: asyncio.Event | None = None
    """Nothing is sent before it is set."""
    streamed: bool = True
    """False: one JSON document even where a stream was asked for."""
    fault: Fault | None = None
    limits: Limits | None = None
    """Said in the headers of a response, also of a refusal, where the provider does that."""

    @property
    def finished(self) -> str:
        return self.finish or ("tool_calls" if self.acts else "stop")


Policy: TypeAlias = Callable[[Call], Reply]


def say(text: str, **how: Any) -> Reply:
    return Reply(text=text, **how)


def call(name: str, /, **arguments: Any) -> Reply:
    return Reply(acts=(Act(name, json.dumps(arguments)),))


def fault(
    *,
    status: int,
    body: bytes | None = None,
    message: str = "simulated",
    headers: Mapping[str, str] | None = None,
    code: str = "",
    retry_after: float | None = None,
    limits: Limits | None = None,
) -> Reply:
    """An error status with `body`, or else with `message` in the words of the wire."""
    kind = {"content-type": "application/json" if body is None else "text/plain", **(headers or {})}
    what = Fault("status", status, tuple(kind.items()), body, 0, message, code, retry_after)
    return Reply(fault=what, limits=limits)


def broken(after: int, text: str = "a b c d e f g h", *, status: int = 500, message: str = "simulated") -> Reply:
    """A stream that says after so many events that it failed."""
    return Reply(text=text, chunks=8, fault=Fault("broken", status, after=after, message=message))


def redirect(to: str, status: int = 307) -> Reply:
    return fault(status=status, headers={"location": to})


def raw(body: bytes | str, content_type: str = "text/event-stream") -> Reply:
    content = body.encode() if isinstance(body, str) else body
    return Reply(fault=Fault("raw", headers=(("content-type", content_type),), body=content))


def hang(after: int = 0, text: str = "a b c d e f g h") -> Reply:
    return Reply(text=text, chunks=8, fault=Fault("hang", after=after))


def cut(after: int = 0, text: str = "a b c d e f g h") -> Reply:
    return Reply(text=text, chunks=8, fault=Fault("cut", after=after))


def prose(words: int) -> str:
    """Text of so many different words."""
    return " ".join(f"word{index}" for index in range(words))


def paced(policy: Policy, *, latency: float = 0, chunks: int = 1, chunk_delay: float = 0) -> Policy:
    """`policy` with its replies delayed by `latency` seconds and cut into pieces `chunk_delay` seconds apart."""
    return lambda asked: replace(policy(asked), delay=latency, chunks=chunks, chunk_delay=chunk_delay)


@dataclass(slots=True)
class Script:
    """Replies in order, by key or model name; `*` is for all others. A list that ran out is an error, 418."""

    replies: Mapping[str, Sequence[Reply]]
    said: dict[str, int] = field(default_factory=dict)

    def __call__(self, asked: Call) -> Reply:
        who = next((name for name in (asked.key, asked.model, "*") if name in self.replies), None)
        if who is None:
            return fault(status=418, message=f"no script for {asked.model!r}")
        turn = self.said.get(who, 0)
        self.said[who] = turn + 1
        if turn >= len(self.replies[who]):
            return fault(status=418, message=f"the script of {who!r} has only {turn} replies")
        return self.replies[who][turn]


@dataclass(slots=True)
class Team:
    """A well-behaved team: each agent answers once, then votes, and gives the final answer where no tool is offered.

    Where the call carries a schema instead of tools, the act is JSON text that follows it.
    """

    answer: str = "The answer of {agent}."
    final: str = "The final answer."
    votes: Mapping[str, str] = field(default_factory=dict)
    """Model name -> the label it votes for; all others vote for the first label they are offered."""
    answered: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, asked: Call) -> Reply:
        wrapper, rule = _unwrapped(asked.schema or {})
        offered = asked.tools or _forms(rule)
        if not offered:
            return say(self.final)
        name = self._choice(asked, offered)
        arguments = fill(offered[name], self._wishes(asked))
        if asked.tools:
            return call(name, **arguments)
        return say(json.dumps({wrapper: arguments} if wrapper else arguments))

    def _choice(self, asked: Call, offered: Mapping[str, Mapping[str, Any]]) -> str:
        first = asked.agent not in self.answered
        if "new_answer" in offered and (first or "vote" not in offered):
            self.answered.add(asked.agent)
            return "new_answer"
        return "vote" if "vote" in offered else next(iter(offered))

    def _wishes(self, asked: Call) -> Mapping[str, Any]:
        wishes = {"content": self.answer.format(agent=asked.model), "reason": "It is right."}
        label = self.votes.get(asked.model)
        return {**wishes, "agent_id": label} if label else wishes


def _unwrapped(schema: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The one property in which a schema holds its alternatives, and these; without one, no name and the schema itself."""
    match [*schema.get("properties", {}).items()]:
        case [(str(name), {"anyOf": _} | {"properties": _} as rule)]:
            return name, rule
        case _:
            return "", schema


def _forms(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The alternatives of a schema whose objects name their tool in `tool`, which can have no other value."""
    found: dict[str, Mapping[str, Any]] = {}
    for form in schema.get("anyOf", [schema]):
        match form.get("properties", {}).get("tool"):
            case {"const": str(name)} | {"enum": [str(name)]}:
                found[name] = form
            case _:
                pass
    return found


def fill(schema: Mapping[str, Any], wishes: Mapping[str, Any]) -> dict[str, Any]:
    """An object that follows `schema`: `wishes` where it has such a property, else the simplest value."""
    return {
        name: wishes[name] if name in wishes else _simplest(name, rule)
        for name, rule in schema.get("properties", {}).items()
    }


def _simplest(name: str, rule: Mapping[str, Any]) -> Any:
    if "const" in rule:
        return rule["const"]
    if "enum" in rule:
        return rule["enum"][0]
    return {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}.get(rule.get("type", ""), name)
