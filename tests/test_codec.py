"""Frozen dataclasses to JSON and back, and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen.events import Asked, Ballot, Chosen, Fact, Member, Recorded, Spent, TurnBegan
from massgen.log.codec import DecodeError, decode, encode
from massgen.messages import Media, Message, Text, ToolCall, ToolResult
from massgen.planning import STATUSES, PlannedTask

text = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
ballots = st.dictionaries(text, st.lists(st.integers(), max_size=3).map(tuple), max_size=3)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    parts=st.lists(
        st.builds(Text, text)
        | st.builds(Media, kind=st.just("image"), mime=text, url=text, data=text, name=text)
        | st.builds(ToolCall, text, text, text)
        | st.builds(ToolResult, text, text, st.booleans())
    ).map(tuple),
)
tasks = st.builds(
    PlannedTask,
    *(text, text),
    depends_on=st.lists(text, max_size=3).map(tuple),
    status=st.sampled_from(STATUSES),
    metadata=st.dictionaries(text, plain, max_size=3),
    started=numbers,
)
SPECIAL = {
    Asked: st.builds(
        Asked,
        question=text,
        roster=st.lists(st.builds(Member, text, text, text)).map(tuple),
        media=st.lists(st.builds(Media, kind=st.just("file"), mime=text)).map(tuple),
        config=st.dictionaries(text, plain, max_size=3),
    ),
    Chosen: st.builds(
        Chosen, answer=st.integers(), tally=st.dictionaries(st.integers(), st.integers()), why=st.just("consensus")
    ),
}


def facts_of(kind: type) -> st.SearchStrategy[Any]:
    """Any fact of `kind`."""
    if kind in SPECIAL:
        return SPECIAL[kind]
    known: dict[Any, st.SearchStrategy[Any]] = {Message: messages, Ballot: ballots, str: text, float: numbers}
    known[float | None] = st.none() | numbers
    known[tuple[PlannedTask, ...]] = st.lists(tasks, max_size=3).map(tuple)
    known[Mapping[str, Any]] = st.dictionaries(text, plain, max_size=3)
    hints = get_type_hints(kind)
    fields = {name: known[hint] if hint in known else st.from_type(hint) for name, hint in hints.items()}
    return st.builds(kind, **fields)


facts = st.one_of(*map(facts_of, get_args(Fact)))


@settings(max_examples=300, deadline=None)
@given(facts)
def test_every_fact_comes_back_as_it_went(fact: Any) -> None:
    written = json.loads(json.dumps(encode(fact)))
    assert decode(Fact, written) == fact
    assert [*written.get("ballot", {})] == [*getattr(fact, "ballot", {})], "a ballot keeps its order"


def test_fields_at_their_default_are_left_out() -> None:
    assert encode(TurnBegan("a", "answer")) == {"type": "TurnBegan", "agent": "a", "purpose": "answer"}
    assert decode(Fact, {"type": "TurnBegan", "agent": "a", "purpose": "answer"}) == TurnBegan("a", "answer")


SAID = {"type": "Said", "agent": "a", "turn": 2, "message": {"type": "Message", "role": "user", "parts": []}}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({**SAID, "turn": "2"}, r"\$\.turn: expected int, found '2'"),
        ({**SAID, "turn": True}, r"\$\.turn: expected int, found True"),
        ({**SAID, "extra": 1}, r"\$: Said has no extra"),
        ({"type": "Said", "agent": "a"}, r"\$: Said lacks message, turn"),
        ({**SAID, "type": "Sung"}, r"\$\.type: unknown type 'Sung'"),
        ({**SAID, "type": ["Said"]}, r"\$\.type: unknown type \['Said'\]"),
        ({"agent": "a"}, r"\$\.type: unknown type None"),
        ([], r"\$: \[\] fits none of the allowed types"),
        ({**SAID, "message": []}, r"\$\.message: expected a Message, found \[\]"),
        ({**SAID, "message": {"type": "Text"}}, r"\$\.message: expected a Message"),
        ({**SAID, "message": {"type": "Message", "role": "judge", "parts": []}}, r"role: expected one of system, user"),
        ({**SAID, "message": {"type": "Message", "role": "user", "parts": {}}}, r"parts: expected a list, found {}"),
        ({**SAID, "message": {"type": "Message", "role": "user", "parts": [3]}}, r"parts\[0\]: 3 fits none"),
        ({"type": "Chosen", "answer": 1, "tally": [], "why": "consensus"}, r"\$\.tally: expected an object"),
        ({"type": "Chosen", "answer": 1, "tally": {"x": 1}, "why": "consensus"}, r"'x' is not a key of type int"),
        ({"type": "Chosen", "answer": 1, "tally": {" 1": 1}, "why": "consensus"}, r"' 1' is not a key of type int"),
        ({"type": "Presented", "agent": "a", "turn": "1", "content": ""}, r"\$\.turn: '1' fits none"),
    ],
)
def test_what_is_not_a_fact_is_refused_with_its_path(value: Any, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        decode(Fact, value)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(DecodeError) as error:
        decode(Fact, {**SAID, "turn": "x" * 500})
    assert len(str(error.value)) < 120


def test_a_whole_number_is_a_float_where_one_is_expected() -> None:
    spent = decode(Spent, {**encode(Spent("a", 2, "m", 1, 2, None, 0.5)), "seconds": 3, "cost": 1})
    assert (spent.seconds, spent.cost) == (3.0, 1.0)
    assert isinstance(spent.seconds, float)


def test_a_single_dataclass_is_decoded_by_its_own_name() -> None:
    assert decode(Member, encode(Member("a", "b", "c"))) == Member("a", "b", "c")
    assert decode(Recorded, encode(Recorded(1, 0.5, Chosen(3, {3: 2}, "decided")))).fact == Chosen(3, {3: 2}, "decided")


@dataclass(frozen=True)
class Odd:
    kind: Literal["a", 1] = "a"
    flags: dict[str, bool] = field(default_factory=dict)
    either: int | str | None = None
    shown: Ballot = field(default_factory=dict)
    anything: Mapping[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "odd",
    [Odd(), Odd(1, {"x": True}, 3, {"agent1": (1, 2)}, {"deep": [{"type": "Odd"}, 1.5, None]}), Odd(either="text")],
)
def test_plain_types_in_a_dataclass_come_back(odd: Odd) -> None:
    assert decode(Odd, json.loads(json.dumps(encode(odd)))) == odd
