"""An agent's tools in its turn: which of them are open to it, and what comes of using them."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeAlias

from massgen import prompts
from massgen.agents import Tasks, Turn
from massgen.agents.shortening import shortened
from massgen.backends import Tool
from massgen.events import PlanChanged, ToolCalled, ToolReturned
from massgen.messages import Message, ToolCall, parse_arguments, tool_result
from massgen.planning import PlannedTask
from massgen.planning.tools import TOOLS
from massgen.toolbox import Offered, Returned, Toolbox

MAX_SHOWN = 30_000
"""Characters of a result that a model is shown: some 8,000 tokens. The whole of it is in the log."""

MAX_NEXT = 5
"""Tasks that could be started, of which an agent is told at the beginning of its turn."""
MAX_TASK = 300
"""Characters of such a task."""

_PLAN = tuple(Offered(Tool(each.name, each.description, each.parameters)) for each in TOOLS)
_PLANNING = frozenset(each.tool.name for each in _PLAN)

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

    async def open_to(self, turn: Turn) -> dict[str, Offered]:
        """Those that may be used in `turn`, by name: who gives the final answer has them all; before that, what changes
        things outside the agent's own workspace is not open, for the team has decided nothing yet."""
        if turn.purpose == "summarise":
            return {}
        final = turn.purpose in ("solo", "present")
        offered = await self.box.offered() if self.box else ()
        plan = _PLAN if turn.plan else ()
        return {each.tool.name: each for each in (*plan, *offered) if final or each.access == "read" or each.own}

    def told(self, turn: Turn, offered: Mapping[str, Offered]) -> str:
        """What the model has to know of them beside what they are."""
        planned = any(each in offered for each in _PLANNING)
        plan = [prompts.PLAN.format(tasks=_tasks(turn.tasks()))] if planned else []
        others = [each for name, each in offered.items() if name not in _PLANNING]
        if turn.purpose not in ("solo", "present"):
            return "\n\n".join([*([prompts.TOOLS_BEFORE] if others else []), *plan])
        return "\n\n".join([*([prompts.TOOLS_AT_LAST] if any(each.access != "read" for each in others) else []), *plan])

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
        if all(offered[call.name].access == "read" and call.name not in _PLANNING for call in made):
            async with asyncio.TaskGroup() as group:
                results += [_recorded(turn, *await task) for task in [group.create_task(each) for each in work]]
        else:
            results += [_recorded(turn, *await each) for each in work]
        told = iter(results)  # one for each that was made, in their order
        return [_message(call, next(told) if call.name in offered else None) for call in calls]

    async def _outcome(
        self, turn: Turn, call: ToolCall, offered: Offered, cut_off: bool
    ) -> tuple[ToolReturned, PlanChanged | None]:
        planning, change = turn.plan if call.name in _PLANNING else None, None
        refused = None if planning else await self._refused(turn, call, offered, cut_off)
        began = monotonic()  # from here on: a person may have read for long what they were asked
        if planning:  # it is recorded with what it changed: there is nothing to cut off
            change, returned = planning(call)
        else:
            returned = refused or await self._used(call)
        seconds = round(monotonic() - began, 3)
        return ToolReturned(turn.agent, turn.seq, call.id, returned.content, returned.is_error, seconds), change

    async def _refused(self, turn: Turn, call: ToolCall, offered: Offered, cut_off: bool) -> Returned | None:
        """Why the tool is not used, if so."""
        if cut_off and offered.access != "read":
            return Returned(prompts.CUT_OFF, is_error=True)
        try:
            parse_arguments(call)
        except ValueError as error:
            return Returned(str(error), is_error=True)
        if offered.access != "irreversible":
            return None
        with _standing_still(turn.limit):
            why = await self.approve(turn.agent, call)
        return Returned(why, is_error=True) if why else None

    async def _used(self, call: ToolCall) -> Returned:
        if self.box is None:
            return Returned(prompts.CUT_OFF, is_error=True)
        return await self.box.call(call.name, parse_arguments(call))


@contextmanager
def _standing_still(limit: asyncio.Timeout | None) -> Generator[None]:
    """A person may read for as long as they like: only the whole run's limit goes on meanwhile."""
    when = limit and limit.when()
    if limit is None or when is None:
        yield
        return
    time = asyncio.get_running_loop().time
    left = when - time()
    limit.reschedule(None)
    try:
        yield
    finally:
        limit.reschedule(time() + left)


def _recorded(turn: Turn, result: ToolReturned, change: PlanChanged | None) -> ToolReturned:
    turn.record(*filter(None, [change, result]))
    return result


def _tasks(tasks: Tasks) -> str:
    """Where the plan stands, in lines."""
    if not tasks.count:
        return prompts.PLAN_EMPTY
    mine = [prompts.PLAN_MINE.format(task=_task(each)) for each in tasks.mine]
    lost = [prompts.PLAN_LOST.format(task=task.id, now=_now(task)) for task in tasks.lost[:MAX_NEXT]]
    ready = [prompts.PLAN_NEXT.format(tasks="; ".join(map(_task, tasks.next[:MAX_NEXT])))] if tasks.next else []
    return "\n".join([prompts.PLAN_PROGRESS.format(done=tasks.done, count=tasks.count), *mine, *lost, *ready])


def _now(task: PlannedTask) -> str:
    return f"{task.assignee} is doing it now" if task.status == "in_progress" else "it was put back"


def _task(task: PlannedTask) -> str:
    why = f" ({task.reason})" if task.reason else ""
    return f"{task.id}: {shortened(task.description, MAX_TASK)}{shortened(why, MAX_TASK)}"


def _message(call: ToolCall, result: ToolReturned | None) -> Message:
    """A result as the model is shown it; none: the call was not a tool's, but an act's or nobody's."""
    if result is None:
        return tool_result(call, prompts.NOT_NOW.format(name=call.name[:40]), is_error=True)
    return tool_result(call, shortened(result.content, MAX_SHOWN), is_error=result.is_error)
