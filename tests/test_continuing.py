"""How a session goes on with a configuration: how much of it is told whole, what is different, what would be lost."""

from pathlib import Path
from typing import Any

import pytest

from massgen import examples
from massgen.config.loading import load, parse
from massgen.continuing import changes, last, losses, recorded, recovered, template, window
from massgen.errors import ConfigError
from massgen.events import (
    Answered,
    Asked,
    Chosen,
    Fact,
    Member,
    Presented,
    Recorded,
    Spent,
    Stopped,
    Summarised,
    TurnBegan,
    Voted,
    VotingOpened,
)
from massgen.log import Log, read
from massgen.messages import Media
from massgen.resuming import standing
from massgen.state import Exchange, State, fold, label_number

ADA, BOB = Member("ada", "openai", "gpt-6"), Member("bob", "claude", "opus")
LONG = (Exchange(1, "x" * 4_000),)


def stands(*facts: Fact) -> State:
    return fold([Recorded(seq, 0.0, fact) for seq, fact in enumerate(facts, 1)])


def team(**backend: Any) -> dict[str, Any]:
    return {
        "agents": [
            {
                "id": "ada",
                "backend": {"type": "chatcompletion", "model": "m", "base_url": "http://127.0.0.1:1/v1", **backend},
            }
        ]
    }


@pytest.mark.parametrize("until", [0, 1, 2, 3])
def test_where_a_long_conversation_stands_is_what_all_its_facts_make(until: int, tmp_path: Path) -> None:
    """Up to `until` of its four questions have been summarised before the third."""
    asked: list[int] = []
    with Log(tmp_path / "events.jsonl") as log:
        for number in range(4):
            asked.append(log.append(Asked(f"Why {number}?", (ADA, BOB), window=100)).seq)
            if number == 2 and until:
                turn = log.append(TurnBegan("ada", "summarise")).seq
                log.append(Summarised("ada", turn, asked[until - 1], "So far: so."))
            turn = log.append(TurnBegan("ada", "answer")).seq
            answer = log.append(Answered("ada", turn, f"So {number}.")).seq
            log.append(Chosen(answer, {answer: 1}, "decided"))
            log.append(Presented("ada", None, f"So {number}."))
            log.append(Stopped("answered"))
    facts = read(log.path)
    assert standing(facts) == fold(facts)
    assert len(standing(facts).history) == 3 - min(until, 2)


# --- how much is told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "characters"),
    [
        ({}, 12_288),
        ({"context_tokens": 100_000}, 150_000),
        ({"type": "local", "model": "", "base_url": ""}, 3_000),
        ({"type": "openai", "model": "gpt-4o", "base_url": ""}, 192_000),
    ],
    ids=["not known", "as configured", "embedded", "in the price list"],
)
def test_half_the_models_context_is_for_the_conversation(backend: dict[str, Any], characters: int) -> None:
    assert window(parse(team(**backend)).config, LONG) == characters


def test_the_smallest_context_of_the_team_counts() -> None:
    source = team(context_tokens=100_000)
    source["agents"].append({"id": "bob", "backend": {"type": "local"}})
    assert window(parse(source).config, LONG) == 3_000


def test_of_a_short_conversation_all_is_told_without_looking_anything_up() -> None:
    assert window(parse(team()).config, (Exchange(1, "x" * 3_000),)) == 0
    image = Media("image", "image/png", data="AA==")
    assert window(parse(team()).config, (Exchange(1, "What is this?", (image,)),)) == 12_288


def test_a_summary_that_was_made_for_more_room_leaves_nothing_to_be_summarised() -> None:
    state = State(Asked("?", (ADA,), window=100), history=(Exchange(1, "Why?"),), summary="x" * 200)
    assert state.oldest == ()


@pytest.mark.parametrize("label", ["agentx", "agent", "agent9999999999", "agent\u0661"])
def test_what_is_no_label_of_a_ballot_is_told(label: str) -> None:
    with pytest.raises(LookupError, match=label):
        label_number(label)


# --- where a team is from ------------------------------------------------------------------------------------------


def test_a_template_is_named_as_people_name_it(tmp_path: Path) -> None:
    file = tmp_path / "team.yaml"
    file.write_text("agents: [{backend: {type: local}}]")
    assert template(load(file)) == str(file)
    assert template(load(examples.path("quickstart"))) == "@examples/quickstart"
    assert template(parse(team())) == ""


# --- what is different ---------------------------------------------------------------------------------------------


def test_what_changes_is_told_agent_by_agent_and_setting_by_setting() -> None:
    before = {"agents": [{"id": "ada", "backend": {"type": "openai", "model": "gpt-6", "api_key": "${A}"}}], "ui": {}}
    after = {
        "agents": [{"id": "ada", "backend": {"type": "openai", "model": "gpt-7", "api_key": "${B}"}}, {"id": "bob"}]
    }
    state = stands(Asked("?", (ADA, Member("cy", "grok", "g")), config=before))
    assert changes(state, [Member("ada", "openai", "gpt-7"), BOB], after) == [
        "cy (grok g) is not in this team: it takes no part; its answers stay",
        "bob (claude opus) is new: it is told the conversation so far",
        "ada: openai gpt-6 -> openai gpt-7",
        "agents.ada.backend.api_key: ${A} -> ${B}",
        "ui: {} -> not set",
    ]


def test_what_is_the_same_is_not_told() -> None:
    config = {"agents": [{"backend": {"type": "openai"}}], "orchestrator": {"stop": "decided"}}
    state = stands(Asked("?", (Member("agent1", "openai", "gpt-6"),), config=config))
    assert changes(state, [Member("agent1", "openai", "gpt-6")], config) == []
    assert changes(State(), [ADA], config) == []


@pytest.mark.parametrize("config", [{"agents": "?"}, {"agents": [1, {"backend": []}]}, {"agent": None}])
def test_a_configuration_of_any_shape_is_compared_and_refused(config: dict[str, Any]) -> None:
    state = stands(Asked("?", (ADA,), config=config))
    assert isinstance(changes(state, [ADA], {"agents": []}), list)
    with pytest.raises(ConfigError):
        recorded(state, "here")


def test_only_so_many_differences_are_told() -> None:
    state = stands(Asked("?", (ADA,), config={"roles": {f"r{n}": "x" for n in range(99)}}))
    assert len(changes(state, [ADA], {})) == 40


# --- an unfinished run ---------------------------------------------------------------------------------------------

OPEN = (
    Asked("?", (ADA, BOB)),
    TurnBegan("ada", "answer"),
    TurnBegan("bob", "answer"),
    Spent("ada", 2, "m", 1, 1, None, 0.1),
    Answered("ada", 2, "A"),
    Spent("bob", 3, "m", 1, 1, None, 0.1),
    Answered("bob", 3, "B"),
    VotingOpened("all answered"),
    TurnBegan("ada", "decide", {"agent1": (5,), "agent2": (7,)}),
    TurnBegan("bob", "decide", {"agent1": (5,), "agent2": (7,)}),
    Voted("ada", 9, 5, ""),
)


def test_what_there_is_of_it_is_told_in_a_line() -> None:
    assert recovered(stands(*OPEN)) == (
        "2 answers, 1 vote, 2 model calls that will not be made again; at work: bob (decide)"
    )
    assert recovered(stands(*OPEN[:1])) == "0 answers, 0 model calls that will not be made again; nobody was at work"


@pytest.mark.parametrize(
    ("roster", "lost"),
    [([ADA, BOB], 0), ([BOB], 0), ([ADA], 1), ([ADA, Member("bob", "claude", "haiku")], 1)],
    ids=["the same", "who was not at work is gone", "who was is gone", "who was is another model"],
)
def test_a_turn_that_nobody_can_take_up_would_be_lost(roster: list[Member], lost: int) -> None:
    assert len(losses(stands(*OPEN), roster)) == lost


def test_of_a_run_that_is_over_nothing_is_lost() -> None:
    over = (*OPEN[:8], Presented("ada", None, "A"), Stopped("answered"))
    assert losses(stands(*over), []) == []


def test_the_last_exchanges_are_told_on_a_line_each() -> None:
    state = State(history=tuple(Exchange(n, f"Why {n}?\nTell!", answer="x" * 200) for n in range(5)))
    told = [*last(state)]
    assert told[0] == "> Why 2? Tell!"
    assert len(told) == 6
    assert all(len(line) <= 103 for line in told)
    assert [*last(State(history=(Exchange(1, "Why?"),)))] == ["> Why?", "  (no answer)"]
