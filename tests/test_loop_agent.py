"""Our own agent: which replies it takes, what it tells a model whose reply it cannot take, and when it calls again."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from massgen.acts import Act, Final, NewAnswer, Verdict, Vote
from massgen.agents import Task, Tasks, Turn
from massgen.agents.calls import Retry
from massgen.agents.loop import PROMPTS_A_TURN, LoopAgent
from massgen.agents.tools import Tools
from massgen.backends import Request
from massgen.errors import BackendError, ProtocolError
from massgen.events import Fact, Purpose, Reprompted, Retried, Said, Spent
from massgen.messages import Chunk, Finish, Media, Message, Text, TextDelta, ToolCall, ToolCallDelta, ToolResult
from massgen.planning import PlannedTask
from massgen.prompts import OPEN_TASK, TURNS_TO_THE_USER
from massgen.state import Exchange
from massgen.testing import Scripted, ScriptedBackend, calls, check_backend, says
from massgen.toolbox import Returned
from tests.stage import offered

SHOWN = {"agent1": "Sky", "agent2": "Sea"}
GOOD = calls("vote", agent_id="agent2", reason="Wet.")


@dataclass
class Scene:
    """One turn of one agent."""

    script: list[Scripted]
    purpose: Purpose = "decide"
    may_answer: bool = True
    refusal: Callable[[Act], str | None] = lambda act: None
    news: list[Mapping[str, str] | None] = field(default_factory=list)
    retry: Retry = field(default_factory=Retry)
    task: Task = field(default_factory=lambda: Task("Why?"))
    own: str = ""
    facts: list[Fact] = field(default_factory=list)
    shown: list[Chunk] = field(default_factory=list)
    draft: str = ""
    tools: Tools = field(default_factory=Tools)

    def __post_init__(self) -> None:
        self.backend = ScriptedBackend(self.script)
        self.agent = LoopAgent("a", self.backend, self.own, retry=self.retry, tools=self.tools)

    @property
    def turn(self) -> Turn:
        answers = SHOWN if self.purpose in ("decide", "present", "evaluate") else {}
        return Turn(
            seq=2,
            agent="a",
            purpose=self.purpose,
            task=self.task,
            answers=answers,
            may_answer=self.may_answer,
            record=lambda *facts: self.facts.extend(facts),
            show=self.shown.append,
            news=lambda: self.news.pop(0) if self.news else None,
            refusal=self.refusal,
            draft=self.draft,
        )

    async def act(self) -> Act:
        return await self.agent.turn(self.turn)

    @property
    def whys(self) -> list[str]:
        return [fact.why for fact in self.facts if isinstance(fact, Reprompted)]

    @property
    def last(self) -> Message:
        return self.backend.requests[-1].messages[-1]


def called(name: str, arguments: str, index: int = 0) -> ToolCallDelta:
    return ToolCallDelta(index, f"id{index}", name, arguments)


# --- replies that are taken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "reply", "act"),
    [
        ("decide", GOOD, Vote("agent2", "Wet.")),
        ("decide", calls("vote", agent_id="agent2"), Vote("agent2")),
        ("decide", calls("new_answer", content="Salt"), NewAnswer("Salt")),
        ("answer", calls("new_answer", content="Salt"), NewAnswer("Salt")),
        ("answer", says("Salt"), NewAnswer("Salt")),
        ("solo", says(" Salt\n"), Final("Salt")),
        ("present", says("Salt"), Final("Salt")),
        ("evaluate", calls("submit"), Verdict("submit")),
        ("evaluate", [ToolCallDelta(0, "x", "submit"), Finish("stop")], Verdict("submit")),
        (
            "evaluate",
            calls("restart_orchestration", reason="Thin", instructions="More"),
            Verdict("restart", "Thin", "More"),
        ),
    ],
)
async def test_one_act_ends_the_turn(purpose: Purpose, reply: Scripted, act: Act) -> None:
    scene = Scene([reply], purpose)
    assert await scene.act() == act
    assert [type(fact) for fact in scene.facts] == [Said, Spent]
    assert scene.shown == [*reply]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "vote", "arguments": {"agent_id": "agent2", "reason": "Wet."}}',
        '```json\n{"name": "vote", "arguments": {"agent_id": "agent2", "reason": "Wet."}}\n```',
        '```\n{"name": "vote", "arguments": {"agent_id": "agent2", "reason": "Wet."}}\n```',
        '<think>Sea or sky?</think>\n{"name": "vote", "arguments": {"agent_id": "agent2", "reason": "Wet."}}',
    ],
)
async def test_a_call_written_out_as_the_whole_message_is_taken(text: str) -> None:
    assert await Scene([says(text)]).act() == Vote("agent2", "Wet.")


async def test_a_written_answer_may_hold_raw_line_ends() -> None:
    text = '{"name": "new_answer", "arguments": {"content": "one\ntwo"}}'
    assert await Scene([says(text)]).act() == NewAnswer("one\ntwo")


@pytest.mark.parametrize(
    "text",
    [
        'I would call {"name": "vote", "arguments": {"agent_id": "agent1"}} here.',
        '```json\n{"name": "vote", "arguments": {"agent_id": "agent1"}}\n```\nor not',
        '{"name": "vote"}',
        '{"name": "vote", "arguments": "agent1"}',
        '[{"name": "vote", "arguments": {}}]',
        "[" * 100_000,
        "1" * 10_000,
    ],
)
async def test_a_call_quoted_in_other_text_or_half_written_is_none(text: str) -> None:
    scene = Scene([says(text), GOOD])
    assert await scene.act() == Vote("agent2", "Wet.")
    assert scene.whys == [
        "That ended in no call, so it counts for nothing. End with exactly one call: new_answer or vote."
    ]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>hm</think>Sky", "Sky"),
        ("<think>hm\n</think>\n\nSky<think>really?</think>", "Sky"),
        ("Write <think> before you think.", "Write <think> before you think."),
    ],
)
async def test_what_a_model_thinks_aloud_is_not_its_answer(text: str, left: str) -> None:
    assert await Scene([says(text)], "solo").act() == Final(left)


@pytest.mark.parametrize("text", ["<think>hm</think>", " <think>so I was cut off in the mid", ""])
async def test_a_reply_of_thoughts_alone_is_no_first_answer(text: str) -> None:
    scene = Scene([says(text), says("Sky")], "answer")
    assert await scene.act() == NewAnswer("Sky")
    assert len(scene.whys) == 1


async def test_half_a_character_in_an_answer_is_replaced() -> None:
    assert await Scene([[called("new_answer", '{"content": "\\ud800!"}')]]).act() == NewAnswer("\ufffd!")


# --- replies that are not ------------------------------------------------------------------------------------------

BAD: dict[str, tuple[list[Chunk], str]] = {
    "two votes": ([called("vote", "{}"), called("vote", "{}", 1)], "That made 2 calls; none was accepted."),
    "both": ([called("vote", "{}"), called("new_answer", "{}", 1)], "That made 2 calls; none was accepted."),
    "unknown": ([called("search" * 50, "{}")], "There is no tool 'searchsearch"),
    "broken": ([called("vote", '{"agent')], "The call of vote was not accepted: the arguments of vote are not valid"),
    "a list": ([called("vote", "[]")], "the arguments of vote must be a JSON object, not list"),
    "a number": ([called("new_answer", '{"content": 4}')], "content must be a string, not int"),
    "null": ([called("vote", '{"agent_id": null}')], "agent_id must be a string, not NoneType"),
    "brackets": ([called("vote", "[" * 100_000)], "The call of vote was not accepted"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_model_is_told_in_the_calls_own_result_why_it_was_not_taken(kind: str) -> None:
    reply, why = BAD[kind]
    scene = Scene([reply, GOOD])
    assert await scene.act() == Vote("agent2", "Wet.")
    assert why in scene.whys[0]
    assert len(scene.whys[0]) < 400
    _, _, made, *told = scene.backend.requests[1].messages
    results = [part for message in told for part in message.parts]
    assert results == [ToolResult(call.id, scene.whys[0], is_error=True) for call in made.tool_calls]


async def test_a_model_that_talks_is_told_by_the_user_and_keeps_what_it_said() -> None:
    scene = Scene([says("Let me think."), GOOD])
    await scene.act()
    said, told = scene.backend.requests[1].messages[-2:]
    assert said == Message("assistant", (Text("Let me think."),))
    assert (told.role, told.text) == ("user", scene.whys[0])


async def test_an_empty_reply_is_not_sent_back_to_the_model() -> None:
    scene = Scene([[Finish("stop")], GOOD])
    await scene.act()
    assert [message.role for message in scene.backend.requests[1].messages] == ["system", "user", "user"]


async def test_an_act_against_the_rules_is_refused_in_their_words() -> None:
    scene = Scene(
        [calls("vote", agent_id="agent9"), GOOD], refusal=lambda act: None if act.label == "agent2" else "No."
    )
    assert await scene.act() == Vote("agent2", "Wet.")
    assert scene.whys == ["No."]


async def test_after_three_useless_replies_the_turn_is_given_up_with_the_last_reason() -> None:
    scene = Scene([says("Hm."), says("Hm?"), calls("search")])
    with pytest.raises(
        ProtocolError, match=r"scripted came to no usable act in 3 tries; the last: There is no tool 'search'"
    ):
        await scene.act()
    assert len(scene.backend.requests) == len(scene.whys) == PROMPTS_A_TURN


async def test_an_agent_without_tools_that_calls_one_is_judged_by_its_text() -> None:
    scene = Scene([calls("search"), says("Sky")], "solo", refusal=lambda act: None if act == Final("Sky") else "Empty.")
    assert await scene.act() == Final("Sky")


# --- what the model is offered and told ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("purpose", "may_answer", "tools"),
    [
        ("answer", True, {"new_answer"}),
        ("decide", True, {"new_answer", "vote"}),
        ("decide", False, {"vote"}),
        ("present", True, set()),
        ("solo", True, set()),
        ("evaluate", True, {"submit", "restart_orchestration"}),
    ],
)
async def test_a_model_is_offered_the_acts_that_are_open_to_it(
    purpose: Purpose, may_answer: bool, tools: set[str]
) -> None:
    good = {"answer": says("x"), "decide": GOOD, "evaluate": calls("submit")}.get(purpose, says("x"))
    scene = Scene([good], purpose, may_answer, draft="Sky")
    await scene.act()
    assert {*offered(scene.backend.requests[0])} == tools
    assert ("new_answer" in scene.backend.requests[0].messages[0].text) == ("new_answer" in tools)


async def test_news_come_with_the_labels_that_may_be_voted_for_now() -> None:
    scene = Scene([says("Hm."), GOOD], news=[None, {**SHOWN, "agent3": "Salt"}])
    await scene.act()
    first, second = scene.backend.requests
    assert offered(first)["vote"] == ["agent1", "agent2"]
    assert offered(second)["vote"] == ["agent1", "agent2", "agent3"]
    assert "<agent3>\nSalt\n</agent3>" in scene.last.text


async def test_the_agents_own_instructions_come_first_and_attachments_with_the_question() -> None:
    picture = Media("image", "image/png", data="aGk=")
    scene = Scene([says("Sky")], "solo", own="You are terse.", task=Task("Why?", (picture,)))
    await scene.act()
    system, question = scene.backend.requests[0].messages
    assert system.text.startswith("You are terse.\n\n")
    assert question.parts == (Text("Why?"), picture)


async def test_a_final_answer_that_asks_the_user_is_sent_back_once() -> None:
    asks = "It is blue. Would you like me to go on?"
    scene = Scene([says(asks), says("It is blue.")], "present")
    assert await scene.act() == Final("It is blue.")
    assert scene.whys == [TURNS_TO_THE_USER]
    insists = Scene([says(asks), says(asks)], "solo")
    assert await insists.act() == Final(asks)
    assert len(insists.backend.requests) == 2


# --- calling again -------------------------------------------------------------------------------------------------


@dataclass
class Naps:
    """Sleeps for no time, and remembers for how long it should have."""

    taken: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def busy(retry_after: float | None = None) -> BackendError:
    return BackendError("HTTP 503", transient=True, retry_after=retry_after)


async def test_a_passing_error_is_tried_again_after_longer_and_longer_pauses_then_given_up() -> None:
    naps = Naps()
    scene = Scene([busy() for _ in range(6)], retry=Retry(sleep=naps, jitter=lambda: 1.0, longest=8.0))
    with pytest.raises(BackendError, match="HTTP 503"):
        await scene.act()
    assert naps.taken == [1, 2, 4, 8, 8]
    assert scene.facts == [Retried("a", 2, "HTTP 503", delay) for delay in naps.taken]


async def test_pauses_are_spread_by_chance_between_half_and_the_whole() -> None:
    assert Retry(jitter=lambda: 0.0).delay(3, None) == 2.0
    assert Retry(jitter=lambda: 1.0).delay(3, None) == 4.0
    assert Retry(jitter=lambda: 1.0).delay(30, None) == 60.0


async def test_the_servers_own_delay_is_kept_when_it_is_longer() -> None:
    naps = Naps()
    scene = Scene([busy(30), busy(0.1), GOOD], retry=Retry(sleep=naps, jitter=lambda: 1.0))
    assert await scene.act() == Vote("agent2", "Wet.")
    assert naps.taken == [30, 2]


async def test_a_server_that_wants_a_longer_pause_than_we_make_is_given_up_at_once() -> None:
    scene = Scene([busy(61), GOOD])
    with pytest.raises(BackendError):
        await scene.act()
    assert scene.facts == []


async def test_a_lasting_error_is_not_tried_again() -> None:
    scene = Scene([BackendError("HTTP 401"), GOOD])
    with pytest.raises(BackendError, match="HTTP 401"):
        await scene.act()
    assert len(scene.backend.requests) == 1


@dataclass
class Breaking:
    """A backend whose first stream breaks off in the middle."""

    model: str = "breaking"
    streams: int = 0
    closed: int = 0

    async def stream(self, request: Request) -> AsyncGenerator[Chunk]:
        self.streams += 1
        try:
            if self.streams == 1:
                yield TextDelta("Half an ans")
                raise busy()
            for chunk in says("The answer"):
                yield chunk
        finally:
            self.closed += 1

    async def aclose(self) -> None:
        self.closed += 100


async def test_a_reply_that_broke_off_leaves_nothing_behind() -> None:
    breaking = Breaking()
    scene = Scene([], "solo")
    scene.agent = LoopAgent("a", breaking, retry=Retry(sleep=Naps()))
    assert await scene.act() == Final("The answer")
    assert [fact.message.text for fact in scene.facts if isinstance(fact, Said)] == ["The answer"]
    assert breaking.closed == breaking.streams == 2
    await scene.agent.aclose()
    assert breaking.closed == 102


async def test_scripted_backends_keep_the_contract_and_say_when_their_script_is_over() -> None:
    await check_backend(ScriptedBackend([says("Hello.")]))
    with pytest.raises(BackendError, match="holds no reply 1"):
        await Scene([]).act()


def test_scripted_calls_are_json() -> None:
    chunk = calls("vote", agent_id="agent1")[0]
    assert isinstance(chunk, ToolCallDelta)
    value: Any = json.loads(chunk.arguments)
    assert value == {"agent_id": "agent1"}


async def test_an_answer_of_the_team_may_be_given_to_the_user_as_it_stands_so_it_asks_nothing_either() -> None:
    scene = Scene(
        [calls("new_answer", content="Which sky do you mean?"), calls("new_answer", content="Blue.")], "answer"
    )
    assert await scene.act() == NewAnswer("Blue.")
    assert scene.whys == [TURNS_TO_THE_USER]


# --- a conversation ------------------------------------------------------------------------------------------------

TASK = Task("Why?")
TALK = (Exchange(1, "Where is Paris?", answer="In France.", author="a"), Exchange(9, "And Bonn?"))


async def test_what_was_said_before_are_messages_and_its_summary_an_instruction() -> None:
    scene = Scene([says("Salt")], "answer", task=replace(TASK, history=TALK, summary="Rome was built."))
    await scene.act()
    instructions, *told, question = scene.backend.requests[0].messages
    assert instructions.text.endswith("<earlier_conversation>\nRome was built.\n</earlier_conversation>")
    assert [(each.role, each.text) for each in told] == [
        ("user", "Where is Paris?"),
        ("assistant", "In France."),
        ("user", "And Bonn?"),
        ("assistant", "(This was not answered.)"),
    ]
    assert TASK.question in question.text


async def test_a_summary_is_asked_of_what_there_is_room_for() -> None:
    long = Exchange(20, "a" * 900, answer="b" * 30)
    scene = Scene([says("Who? When?")], "summarise", task=Task("", history=(long,), summary="Old.", room=600))
    assert await scene.act() == Final("Who? When?"), "it may end in a question"
    _, told = scene.backend.requests[0].messages
    assert told.text == (
        "<earlier_conversation>\nOld.\n</earlier_conversation>\n<user>\n"
        f"{'a' * 200}\n[... 600 characters left out ...]\n{'a' * 100}\n</user>\n<answer>\n{'b' * 30}\n</answer>"
    )


async def test_a_reply_that_is_recorded_is_not_asked_for_again() -> None:
    scene = Scene([GOOD])
    call = ToolCall("1", "vote", json.dumps({"agent_id": "agent2", "reason": "Wet."}))
    turn = replace(scene.turn, said=lambda: Message("assistant", (Text("So:"), call)))
    assert await scene.agent.turn(turn) == Vote("agent2", "Wet.")
    assert scene.backend.requests == []
    assert scene.facts == []


def _no_change(call: ToolCall) -> tuple[None, Returned]:
    return None, Returned("{}")


@pytest.mark.parametrize(("refused", "kept"), [(0, 1), (1, 1), (2, 0)])
async def test_an_agent_is_asked_once_for_its_open_task_also_after_other_refusals_but_leaves_for_none(
    refused: int, kept: int
) -> None:
    scene = Scene([*[says("Hm.")] * refused, GOOD, GOOD])
    mine = Tasks(mine=[PlannedTask("t1", "Dig.", status="in_progress")], count=1)
    turn = replace(scene.turn, plan=_no_change, tasks=lambda: mine)
    assert await scene.agent.turn(turn) == Vote("agent2", "Wet.")
    told = [each.why for each in scene.facts if isinstance(each, Reprompted)]
    assert told.count(OPEN_TASK.format(tasks="t1")) == kept
    assert len(told) == refused + kept
