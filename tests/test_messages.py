"""Chat messages, and how a streamed reply becomes one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massgen.messages import (
    Finish,
    Media,
    Message,
    ReasoningDelta,
    Reply,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    parse_arguments,
    system,
    tool_result,
    user,
    well_formed,
)


def reply(*chunks: object) -> Reply:
    collected = Reply()
    for chunk in chunks:
        collected.add(chunk)
    return collected


def test_text_in_pieces_becomes_one_part_and_reasoning_none() -> None:
    whole = reply(ReasoningDelta("hm"), TextDelta("Sk"), TextDelta("y"), Usage(3, 4, 0.5), Finish("stop"))
    assert whole.message == Message("assistant", (Text("Sky"),))
    assert (whole.usage, whole.finish) == (Usage(3, 4, 0.5), "stop")


def test_a_reply_of_nothing_has_no_parts() -> None:
    assert reply(Finish("stop")).message == Message("assistant", ())


def test_calls_in_interleaved_pieces_come_out_whole_and_in_order() -> None:
    whole = reply(
        ToolCallDelta(1, "b", "vote"),
        ToolCallDelta(0, "a", "new_answer", '{"con'),
        ToolCallDelta(1, arguments="{}"),
        ToolCallDelta(0, arguments='tent": ""}'),
    )
    assert whole.message.tool_calls == (ToolCall("a", "new_answer", '{"content": ""}'), ToolCall("b", "vote", "{}"))


def test_a_call_without_an_id_gets_one() -> None:
    assert reply(ToolCallDelta(2, name="vote")).message.tool_calls[0].id == "call_2"


def test_a_character_whose_halves_came_in_two_chunks_is_one_character() -> None:
    assert reply(TextDelta("a\ud83d"), TextDelta("\ude00")).message.text == "a\U0001f600"


def test_a_lone_half_of_a_character_is_replaced_so_that_every_other_part_can_encode_it() -> None:
    whole = reply(TextDelta("a\ud800b"), ToolCallDelta(0, "x", "vote", "\udfff")).message
    assert whole.text == "a\ufffdb"
    assert whole.tool_calls[0].arguments == "\ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_well_formed_text_stays_as_it_is(text: str) -> None:
    assert well_formed(text) == text


@given(st.text(st.characters()))
def test_whatever_a_model_sends_can_be_encoded(text: str) -> None:
    well_formed(text).encode()


def test_messages_are_made_of_parts() -> None:
    picture = Media("image", "image/png", url="https://example.org/a.png")
    assert user("Look", (picture,)).parts == (Text("Look"), picture)
    assert system("Be brief.").role == "system"
    call = ToolCall("1", "vote", "{}")
    assert tool_result(call, "no", is_error=True).parts == (ToolResult("1", "no", is_error=True),)
    assert Message("assistant", (Text("a"), call, Text("b"))).text == "ab"


@pytest.mark.parametrize(("arguments", "value"), [("", {}), ("{}", {}), ('{"a": [1]}', {"a": [1]})])
def test_arguments_are_a_json_object(arguments: str, value: object) -> None:
    assert parse_arguments(ToolCall("1", "vote", arguments)) == value


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", '"x"', "vote", "[" * 100_000, "1" * 10_000, '{"a": "\n"}'])
def test_anything_else_is_refused_with_what_to_send(arguments: str) -> None:
    with pytest.raises(ValueError, match=r"arguments of vote (are not valid JSON|must be a JSON object)") as error:
        parse_arguments(ToolCall("1", "vote", arguments))
    assert len(str(error.value)) < 300
