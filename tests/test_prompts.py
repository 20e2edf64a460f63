from collections.abc import Mapping
from typing import Any, get_args

import pytest

from massgen import prompts
from massgen.agents import Task, Turn, briefing
from massgen.events import Purpose
from massgen.messages import Media

PURPOSES: tuple[Purpose, ...] = tuple(each for each in get_args(Purpose) if each != "summarise")
"""Those of turns about the question; the other is tested with the agents."""
ANSWERS = {"agent2": "Paris.", "agent1": "It is\n\nLyon <b>"}


def a_turn(purpose: Purpose, *, answers: Mapping[str, str] = ANSWERS, **fields: Any) -> Turn:
    task = fields.pop("task", Task("What is the capital of France?"))
    ways = {"record": lambda fact: None, "show": lambda chunk: None, "news": lambda: None, "refusal": lambda act: None}
    return Turn(1, "ada", purpose, task, answers, fields.pop("may_answer", True), **ways, **fields)


def system_prompt(turn: Turn, sensitivity: str = "balanced", own: str = "") -> str:
    return briefing.opening(turn, own, sensitivity)[0].text


def task_shown(turn: Turn) -> str:
    return briefing.opening(turn, "", "balanced")[1].text


@pytest.mark.parametrize("sensitivity", prompts.STANDARDS)
@pytest.mark.parametrize("may_answer", [True, False])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_system_prompt_is_short(purpose, may_answer, sensitivity):
    assert 0 < len(system_prompt(a_turn(purpose, may_answer=may_answer), sensitivity)) < 1000


@pytest.mark.parametrize("sensitivity", prompts.STANDARDS)
def test_the_system_prompts_of_a_two_agent_chat_are_short_together(sensitivity):
    assert sum(len(system_prompt(a_turn(purpose), sensitivity)) for purpose in ("answer", "decide")) < 2000


@pytest.mark.parametrize(
    ("purpose", "words"),
    [
        ("solo", "The user gets this text alone and cannot reply."),
        ("answer", "Nobody can reply to you, so state assumptions instead of asking."),
        ("present", "The user gets this text alone and cannot reply."),
    ],
)
def test_an_agent_that_writes_for_the_user_knows_that_nobody_can_reply(purpose, words):
    assert words in system_prompt(a_turn(purpose))


@pytest.mark.parametrize("purpose", ["decide", "evaluate"])
def test_an_agent_whose_words_do_not_reach_the_user_can_only_act(purpose):
    assert briefing.tools(a_turn(purpose), ["agent1"])
    assert "call" in system_prompt(a_turn(purpose)).lower()


@pytest.mark.parametrize(
    ("purpose", "may_answer", "offered"),
    [
        ("solo", True, []),
        ("answer", True, ["new_answer"]),
        ("answer", False, ["new_answer"]),
        ("decide", True, ["new_answer", "vote"]),
        ("decide", False, ["vote"]),
        ("present", True, []),
        ("evaluate", True, ["submit", "restart_orchestration"]),
    ],
)
def test_the_tools_are_the_acts_open_to_the_agent_and_no_others_are_named(purpose, may_answer, offered):
    turn = a_turn(purpose, may_answer=may_answer)
    known = {tool.name for each in PURPOSES for tool in briefing.tools(a_turn(each), [])}

    assert [tool.name for tool in briefing.tools(turn, ["agent1"])] == offered
    said = system_prompt(turn).replace("vote for", "").replace("votes", "").replace("the team's vote", "")
    assert {name for name in known if f"call {name}" in said.lower() or f"or {name}" in said} <= {*offered}


def test_a_vote_is_for_a_label_that_is_shown():
    (_, vote) = briefing.tools(a_turn("decide"), ["agent2", "agent1"])

    assert vote.parameters["properties"]["agent_id"] == {"type": "string", "enum": ["agent2", "agent1"]}
    assert [*vote.parameters["properties"]] == ["reason", "agent_id"]  # to think before it chooses


@pytest.mark.parametrize("purpose", PURPOSES)
def test_every_tool_takes_exactly_its_parameters(purpose):
    for tool in briefing.tools(a_turn(purpose), ["agent1"]):
        assert tool.parameters["required"] == [*tool.parameters["properties"]]
        assert tool.parameters["additionalProperties"] is False
        assert tool.description.endswith(".")


@pytest.mark.parametrize("purpose", ["decide", "present"])
def test_answers_are_shown_whole_and_in_the_order_of_the_turn(purpose):
    shown = task_shown(a_turn(purpose))
    assert shown.startswith("<task>\nWhat is the capital of France?\n</task>\n")
    assert shown.endswith("<answers>\n<agent2>\nParis.\n</agent2>\n<agent1>\nIt is\n\nLyon <b>\n</agent1>\n</answers>")


def test_the_winner_sees_why_the_others_voted():
    turn = a_turn("present", votes={"agent2": ("It is right.", "", "So say I."), "agent1": ()})
    assert "</agent2>\n- vote for agent2: It is right.\n- vote for agent2: So say I.\n<agent1>" in task_shown(turn)


def test_a_first_answer_sees_only_the_task():
    assert task_shown(a_turn("answer", answers={})) == "<task>\nWhat is the capital of France?\n</task>"


def test_a_single_agent_is_asked_the_bare_question():
    assert task_shown(a_turn("solo", answers={})) == "What is the capital of France?"


def test_the_check_is_of_the_final_answer_alone():
    shown = task_shown(a_turn("evaluate", draft="Paris is."))
    assert shown.endswith("</task>\n<final_answer>\nParis is.\n</final_answer>")
    assert "Lyon" not in shown


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_feedback_on_an_earlier_attempt_is_shown_with_its_answer(purpose):
    task = Task("What is the capital of France?", previous_answer="Lyon.", feedback="Look it up.")
    shown = task_shown(a_turn(purpose, task=task))

    assert "<previous_attempt>\nLyon.\n</previous_attempt>\n<feedback>\nLook it up.\n</feedback>" in shown


@pytest.mark.parametrize("purpose", PURPOSES)
def test_the_agents_own_instructions_come_first(purpose):
    plain = system_prompt(a_turn(purpose))
    assert system_prompt(a_turn(purpose), own="You are a geographer.") == f"You are a geographer.\n\n{plain}"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_media_go_with_the_question(purpose):
    picture = Media("image", "image/png", data="aGk=")
    message = briefing.opening(a_turn(purpose, task=Task("What is this?", (picture,))), "", "balanced")[1]
    assert picture in message.parts


def test_news_show_all_current_answers():
    assert briefing.news(ANSWERS).text == f"{prompts.NEWS}\n{briefing.answers(ANSWERS)}"


def test_braces_in_questions_and_answers_stay_as_they_are():
    task = Task("What is {question}?", previous_answer="{answer}", feedback="{0}")
    shown = task_shown(a_turn("decide", answers={"agent1": "{x}"}, task=task))
    assert all(text in shown for text in ("What is {question}?", "\n{answer}\n", "\n{0}\n", "\n{x}\n"))


def test_the_standards_are_those_of_the_configuration():
    from massgen.config import OrchestratorConfig

    assert [*prompts.STANDARDS] == [*get_args(OrchestratorConfig.model_fields["voting_sensitivity"].annotation)]
