"""An agent's tools in its turn: which are open when, in which order they are used, and what is told of it."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from massgen import prompts
from massgen.acts import Act, Final, NewAnswer, Vote
from massgen.agents.loop import ROUNDS_A_TURN, LoopAgent
from massgen.agents.tools import MAX_SHOWN, Approve, Tools
from massgen.backends import Tool
from massgen.events import Purpose, Reprompted, ToolCalled, ToolReturned
from massgen.messages import Finish, Message, Text, ToolCall, ToolCallDelta, ToolResult
from massgen.orchestrator import Times
from massgen.testing import Scripted, ScriptedBackend, calls, says
from massgen.toolbox import Access, Offered, Returned
from tests.stage import Stage, offered, play
from tests.test_loop_agent import GOOD, Scene

DOES: Mapping[str, Access] = {"look": "read", "find": "read", "draft": "write", "note": "write", "send": "irreversible"}
ANY = {"type": "object", "properties": {"text": {"type": "string"}}}


@dataclass
class Box:
    """Stands in for an agent's tools. `draft` writes to its own workspace alone."""

    together: int = 0
    """So many calls are begun before one returns, the last one first."""
    used: list[str] = field(default_factory=list[str])
    said: str = ""
    takes: float = 0
    """Seconds."""
    waiting: list[asyncio.Event] = field(default_factory=list[asyncio.Event])

    async def offered(self) -> Sequence[Offered]:
        return [Offered(Tool(name, f"To {name}.", ANY), does, own=name == "draft") for name, does in DOES.items()]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        self.used.append(f"{name} {arguments.get('text', '')}".strip())
        await asyncio.sleep(self.takes)
        if self.together:
            self.waiting.append(asyncio.Event())
            mine = self.waiting[-1]
            if len(self.waiting) == self.together:
                mine.set()
            await mine.wait()
            self.waiting.pop()
            if self.waiting:
                self.waiting[-1].set()
        return Returned(self.said or f"{name} said {arguments.get('text', 'nothing')}")


def scene(
    script: list[Scripted], purpose: Purpose = "answer", box: Box | None = None, approve: Approve | None = None
) -> Scene:
    return Scene(script, purpose, tools=Tools(box or Box(), approve) if approve else Tools(box or Box()))


def uses(*made: str) -> Scripted:
    """One reply that makes these calls, each a name and a text."""
    parted = [each.partition(" ") for each in made]
    acts = [
        ToolCallDelta(place, f"c{place}", name, f'{{"text": "{text}"}}') for place, (name, _, text) in enumerate(parted)
    ]
    return [*acts, Finish("tool_calls")]


def results(message: Message) -> list[str]:
    return [part.content for part in message.parts if isinstance(part, ToolResult)]


def told(scene: Scene, request: int = -1) -> list[str]:
    """The results that the model was shown since its last reply."""
    found: list[str] = []
    for message in reversed(scene.backend.requests[request].messages):
        if message.role != "tool":
            break
        found = [*results(message), *found]
    return found


@pytest.mark.parametrize(
    ("purpose", "names"),
    [
        ("answer", ["look", "find", "draft"]),
        ("decide", ["look", "find", "draft"]),
        ("evaluate", ["look", "find", "draft"]),
        ("solo", [*DOES]),
        ("present", [*DOES]),
        ("summarise", []),
    ],
)
async def test_only_who_gives_the_final_answer_may_change_something(purpose: Purpose, names: list[str]) -> None:
    ends = {"answer": calls("new_answer", content="x"), "decide": GOOD, "evaluate": calls("submit")}
    played = scene([ends.get(purpose, says("x"))], purpose)
    await played.act()
    (request,) = played.backend.requests
    assert [name for name in offered(request) if name in DOES] == names
    system = request.messages[0].text
    assert (prompts.TOOLS_BEFORE in system) == (purpose in ("answer", "decide", "evaluate"))
    assert (prompts.TOOLS_AT_LAST in system) == (purpose in ("solo", "present"))


async def test_reads_run_at_the_same_time_and_come_back_in_the_order_of_the_calls() -> None:
    box = Box(together=3)
    played = scene([uses("look a", "find b", "look c"), calls("new_answer", content="x")], box=box)
    assert await played.act() == NewAnswer("x")
    assert box.used == ["look a", "find b", "look c"]
    assert told(played) == ["look said a", "find said b", "look said c"]
    recorded = [each for each in played.facts if isinstance(each, ToolCalled | ToolReturned)]
    assert [type(each) for each in recorded] == [ToolCalled] * 3 + [ToolReturned] * 3


async def test_with_a_write_among_them_one_follows_the_other() -> None:
    box = Box()
    played = scene([uses("note a", "look b", "note c"), says("x")], "present", box)
    assert await played.act() == Final("x")
    assert box.used == ["note a", "look b", "note c"]
    assert told(played) == ["note said a", "look said b", "note said c"]


class Counter(Box):
    """Tells how often it was used."""

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Returned:
        self.used.append(name)
        return Returned(str(len(self.used)))


async def test_calls_that_are_alike_have_each_its_own_result() -> None:
    """Also where a server gives all calls the same id."""
    alike = [ToolCallDelta(place, "c", "look", "{}") for place in range(2)]
    played = scene([[*alike, Finish("tool_calls")], calls("new_answer", content="x")], box=Counter())
    await played.act()
    assert told(played) == ["1", "2"]


async def test_an_act_beside_tools_has_to_be_made_again_alone() -> None:
    vote = ToolCallDelta(1, "v", "vote", '{"agent_id": "agent1"}')
    first = ToolCallDelta(0, "c", "look", '{"text": "a"}')
    played = scene([[first, vote, Finish("tool_calls")], GOOD], "decide")
    assert await played.act() == Vote("agent2", "Wet.")
    assert told(played) == ["look said a", prompts.NOT_NOW.format(name="vote")]
    assert not [each for each in played.facts if isinstance(each, Reprompted)]


async def test_a_tool_that_is_not_open_is_no_tool() -> None:
    box = Box()
    played = scene([uses("send a"), GOOD], "decide", box)
    assert await played.act() == Vote("agent2", "Wet.")
    assert played.whys == ["There is no tool 'send'. Call new_answer or vote."]
    assert box.used == []


async def test_arguments_that_are_none_are_told_and_the_tool_is_not_used() -> None:
    box = Box()
    broken = [ToolCallDelta(0, "c", "look", "{text: a"), Finish("tool_calls")]
    played = scene([broken, calls("new_answer", content="x")], box=box)
    await played.act()
    (returned,) = [each for each in played.facts if isinstance(each, ToolReturned)]
    assert (returned.is_error, box.used, told(played)) == (True, [], [returned.content])


@pytest.mark.parametrize("why", ["", "The user says no."])
async def test_what_cannot_be_undone_is_asked_for_and_nothing_else(why: str) -> None:
    asked, box = list[str](), Box()

    async def approve(agent: str, call: ToolCall) -> str:
        asked.append(f"{agent} {call.name} {call.arguments}")
        return why

    played = scene([uses("note a", "send b"), says("x")], "solo", box, approve)
    await played.act()
    assert asked == ['a send {"text": "b"}']
    assert box.used == (["note a"] if why else ["note a", "send b"])
    assert told(played) == ["note said a", why or "send said b"]


def test_a_turn_does_not_time_out_while_a_person_reads_what_is_asked() -> None:
    async def slowly(agent: str, call: ToolCall) -> str:
        await asyncio.sleep(3_000)
        return ""

    async def sends(seconds: float) -> Act:
        played = scene([uses("send a", "send b"), says("x")], "present", Box(takes=seconds), slowly)
        async with asyncio.timeout(600) as limit:
            return await played.agent.turn(replace(played.turn, limit=limit))

    assert play(sends(299)) == Final("x")
    with pytest.raises(TimeoutError):
        play(sends(301))


async def test_how_long_a_tool_took_says_nothing_of_how_long_a_person_read() -> None:
    async def slowly(agent: str, call: ToolCall) -> str:
        time.sleep(0.2)  # the clock that measures tools is a real one
        return ""

    played = scene([uses("send a"), says("x")], "present", approve=slowly)
    await played.act()
    assert [each.seconds < 0.2 for each in played.facts if isinstance(each, ToolReturned)] == [True]


def test_a_run_waits_for_a_person_longer_than_a_turn_may_take(tmp_path: Path) -> None:
    async def slowly(agent: str, call: ToolCall) -> str:
        await asyncio.sleep(3_000)
        return ""

    backend = ScriptedBackend([uses("send a"), says("x")])
    agent = LoopAgent("a", backend, tools=Tools(box := Box(takes=599), slowly))
    state = Stage(tmp_path / "log", {"a": agent}, times=Times(run=10_000, turn=600)).run()
    assert [each.content for each in state.answers.values()] == ["x"]
    assert box.used == ["send a"]


async def test_without_anybody_to_ask_it_is_not_done() -> None:
    box = Box()
    played = scene([uses("send a"), says("x")], "solo", box)
    await played.act()
    assert (told(played), box.used) == ([prompts.NOT_APPROVED], [])


async def test_the_rounds_of_a_turn_are_bounded() -> None:
    box = Box()
    played = scene([*[uses("look a")] * ROUNDS_A_TURN, calls("new_answer", content="x")], box=box)
    assert await played.act() == NewAnswer("x")
    last = played.backend.requests[-1]
    assert [*offered(last)] == ["new_answer"]
    assert last.messages[-1].parts == (Text(prompts.NO_MORE_TOOLS),)
    assert len(box.used) == ROUNDS_A_TURN


async def test_of_a_long_result_the_model_sees_a_part_and_the_log_has_all() -> None:
    played = scene([uses("look a"), calls("new_answer", content="x")], box=Box(said="long " * MAX_SHOWN))
    await played.act()
    assert len(told(played)[0]) < MAX_SHOWN + 100
    (returned,) = [each for each in played.facts if isinstance(each, ToolReturned)]
    assert len(returned.content) == 5 * MAX_SHOWN
