"""An agent's tools in its turn: which of them are open to it, and what comes of using them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

from massgen import prompts
from massgen.agents import Turn
from massgen.agents.shortening import shortened
from massgen.events import Purpose, ToolCalled, ToolReturned
from massgen.messages import Message, ToolCall, parse_arguments, tool_result
from massgen.toolbox import Offered, Returned, Toolbox

MAX_SHOWN = 30_000
"""Characters of a result that a model is shown: some 8,000 tokens. The whole of it is in the log."""

Approve: TypeAlias = Callable[[str, ToolCall], Awaitable[str]]
"""Asks whether an agent may make a call that cannot be undone: why not, or nothing if it may."""


async def nobody(agent: str, call: ToolCall) -> str:
    """For runs without anybody to ask."""
    return prompts.NOT_APPROVED


@dataclass(frozen=True, slots=True)
class Tools:
    """What one agent has beside the team's acts."""

    box: Toolbox | None = None
    approve: Approve = field(default=nobody)

    async def open_to(self, purpose: Purpose) -> dict[str, Offered]:
        """Those that may be used in a turn of `purpose`, by name: who gives the final answer has them all; before that,
        what changes things outside the agent's own workspace is not open, for the team has decided nothing yet."""
        if self.box is None or purpose == "summarise":
            return {}
        final = purpose in ("solo", "present")
        offered = await self.box.offered()
        return {each.tool.name: each for each in offered if final or each.access == "read" or each.own}

    def told(self, purpose: Purpose, offered: Mapping[str, Offered]) -> str:
        """What the model has to know of them beside what they are."""
        if purpose in ("solo", "present"):
            return prompts.TOOLS_AT_LAST if any(each.access != "read" for each in offered.values()) else ""
        return prompts.TOOLS_BEFORE if offered else ""

    async def use(self, turn: Turn, calls: Sequence[ToolCall], offered: Mapping[str, Offered]) -> list[Message]:
        """Make those of `calls` whose tools are `offered`; the results, for the model. None is made twice: what came of it
        before the turn was taken up is given again, and what was cut off is told, unless it only reads."""
        made = [call for call in calls if call.name in offered]
        cut_off = turn.used()
        turn.record(*(ToolCalled(turn.agent, turn.seq, call.id, call.name, call.arguments) for call in made))
        results: list[ToolReturned] = []
        while len(results) < len(made) and (known := turn.returned()):
            results.append(known)
        work = (self._outcome(turn, call, offered[call.name], cut_off) for call in made[len(results) :])
        if all(offered[call.name].access == "read" for call in made):
            async with asyncio.TaskGroup() as group:
                results += [_recorded(turn, await task) for task in [group.create_task(each) for each in work]]
        else:
            results += [_recorded(turn, await each) for each in work]
        told = dict(zip(made, results, strict=True))
        return [_message(call, told.get(call)) for call in calls]

    async def _outcome(self, turn: Turn, call: ToolCall, offered: Offered, cut_off: bool) -> ToolReturned:
        began = monotonic()
        returned = await self._returned(turn, call, offered, cut_off)
        seconds = round(monotonic() - began, 3)
        return ToolReturned(turn.agent, turn.seq, call.id, returned.content, returned.is_error, seconds)

    async def _returned(self, turn: Turn, call: ToolCall, offered: Offered, cut_off: bool) -> Returned:
        if cut_off and offered.access != "read":
            return Returned(prompts.CUT_OFF, is_error=True)
        try:
            arguments = parse_arguments(call)
        except ValueError as error:
            return Returned(str(error), is_error=True)
        if offered.access == "irreversible" and (why := await self.approve(turn.agent, call)):
            return Returned(why, is_error=True)
        return await self.box.call(call.name, arguments) if self.box else Returned(prompts.CUT_OFF, is_error=True)


def _recorded(turn: Turn, result: ToolReturned) -> ToolReturned:
    turn.record(result)
    return result


def _message(call: ToolCall, result: ToolReturned | None) -> Message:
    """A result as the model is shown it; none: the call was not a tool's, but an act's or nobody's."""
    if result is None:
        return tool_result(call, prompts.NOT_NOW.format(name=call.name[:40]), is_error=True)
    return tool_result(call, shortened(result.content, MAX_SHOWN), is_error=result.is_error)
