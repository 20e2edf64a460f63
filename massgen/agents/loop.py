"""Our own agent: a model that is asked until it comes to one acceptable act."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from massgen import prompts
from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.agents import Turn, briefing
from massgen.agents.calls import Retry, call
from massgen.agents.tools import Tools
from massgen.autonomy import asks_the_user
from massgen.backends import Backend, Request, Tool
from massgen.errors import ProtocolError
from massgen.events import Reprompted
from massgen.messages import Message, ToolCall, parse_arguments, tool_result, user, well_formed

PROMPTS_A_TURN = 3
"""How often an agent is asked in one turn before it leaves the team."""


ROUNDS_A_TURN = 50
"""How often it may use tools before it has to come to an end."""


class _Refused(Exception):
    """The reply holds no acceptable act; the message tells the model why."""


@dataclass(frozen=True, slots=True)
class LoopAgent:
    """A model that acts by tool calls."""

    id: str
    backend: Backend
    system_message: str = ""
    sensitivity: str = "balanced"
    retry: Retry = field(default_factory=Retry)
    tools: Tools = field(default_factory=Tools)

    async def turn(self, turn: Turn) -> Act:
        open_tools = await self.tools.open_to(turn)
        messages = briefing.opening(turn, self.system_message, self.sensitivity, self.tools.told(turn, open_tools))
        labels, rounds, whys = [*turn.answers], 0, list[str]()
        while len(whys) < PROMPTS_A_TURN:
            if open_tools and rounds == ROUNDS_A_TURN:
                open_tools = {}
                messages.append(user(prompts.NO_MORE_TOOLS))
            if shown := turn.news():
                messages.append(briefing.news(shown))
                labels = [*shown]
            acts = briefing.tools(turn, labels)
            request = Request(tuple(messages), [*acts, *(each.tool for each in open_tools.values())])
            message = (await call(self.backend, request, turn, self.retry)).message
            if any(made.name in open_tools for made in message.tool_calls):
                messages += [message, *await self.tools.use(turn, message.tool_calls, open_tools)]
                rounds += 1
                continue
            try:
                return _act(turn, message, acts, whys)
            except _Refused as refused:
                whys.append(str(refused))
            turn.record(Reprompted(self.id, turn.seq, whys[-1]))
            messages += _correction(message, whys[-1])
        raise ProtocolError(
            f"{self.backend.model} came to no usable act in {PROMPTS_A_TURN} tries; the last: {whys[-1]}"
        )

    async def aclose(self) -> None:
        await self.backend.aclose()


def _correction(message: Message, why: str) -> list[Message]:
    if message.tool_calls:
        return [message, *(tool_result(made, why, is_error=True) for made in message.tool_calls)]
    return [*([message] if message.parts else []), user(why)]


def _act(turn: Turn, message: Message, tools: Sequence[Tool], whys: Sequence[str]) -> Act:
    """The act in `message`; `whys` are the refusals of this turn so far."""
    act = _read(turn, message, tools)
    may_remark = len(whys) < PROMPTS_A_TURN - 1  # else it would leave the team for that
    for remark in _remarks(turn, act):
        if may_remark and remark not in whys:
            raise _Refused(remark)
    if why := turn.refusal(act):
        raise _Refused(why)
    return act


def _remarks(turn: Turn, act: Act) -> Iterator[str]:
    """What is better done otherwise, and is said once."""
    if turn.purpose != "summarise" and isinstance(act, Final | NewAnswer) and asks_the_user(act.content):
        yield prompts.TURNS_TO_THE_USER
    if turn.plan and (mine := turn.tasks().mine):
        yield prompts.OPEN_TASK.format(tasks=", ".join(task.id for task in mine))


def _read(turn: Turn, message: Message, tools: Sequence[Tool]) -> Act:
    text = _THOUGHT.sub("", message.text.strip()).strip()
    if not tools:
        return Final(text)
    offered = " or ".join(tool.name for tool in tools)
    calls = message.tool_calls or _written(text)
    if len(calls) > 1:
        raise _Refused(prompts.TOO_MANY_CALLS.format(count=len(calls), calls=offered))
    if calls:
        return _from_call(calls[0], tools, offered)
    if turn.purpose == "answer" and text:
        return NewAnswer(text)  # the only act open to it, so there is nothing to mistake it for
    raise _Refused(prompts.NO_CALL.format(calls=offered))


_THOUGHT = re.compile(r"<think>.*?</think>|\A<think>.*", re.DOTALL)
"""What a model thought aloud; a reply cut off in the middle of that is nothing else."""
_FENCE = re.compile(r"```(?:json)?\n(.*)\n```", re.DOTALL)


def _written(text: str) -> tuple[ToolCall, ...]:
    """A call that a model wrote out as its whole message. One quoted within other text is no call."""
    fenced = _FENCE.fullmatch(text)
    try:
        value: Any = json.loads(fenced[1] if fenced else text, strict=False)
    except (ValueError, RecursionError):
        return ()
    match value:
        case {"name": str(name), "arguments": {**arguments}}:
            return (ToolCall("written", name, json.dumps(arguments)),)
        case _:
            return ()


def _from_call(made: ToolCall, tools: Sequence[Tool], offered: str) -> Act:
    if made.name not in {tool.name for tool in tools}:
        raise _Refused(prompts.UNKNOWN_CALL.format(name=made.name[:40], calls=offered))
    try:
        return _ACTS[made.name](parse_arguments(made))
    except (ValueError, TypeError) as error:
        raise _Refused(prompts.BAD_ARGUMENTS.format(name=made.name, problem=error)) from None


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    return well_formed(value)


_ACTS: dict[str, Callable[[Mapping[str, Any]], Act]] = {
    "new_answer": lambda given: NewAnswer(_text(given, "content")),
    "vote": lambda given: Vote(_text(given, "agent_id"), _text(given, "reason")),
    "submit": lambda given: Verdict("submit"),
    "restart_orchestration": lambda given: Verdict("restart", _text(given, "reason"), _text(given, "instructions")),
}
