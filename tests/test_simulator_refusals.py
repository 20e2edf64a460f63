"""The simulator refuses what the real API refuses, in its words: what passes here has a chance to pass there."""

import typing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic.types.message_create_params as anthropic_params
import openai.types.responses.response_create_params as openai_params
import pytest
from google.genai import types

from tests.providers import Simulator, gemini, messages, responses, say

ROOT = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
HEADERS = {
    "authorization": "Bearer k",
    "api-key": "k",
    "x-api-key": "k",
    "x-goog-api-key": "k",
    "anthropic-version": "1",
}

USER = {"role": "user", "content": "Hi"}
OBJECT: dict[str, Any] = {"type": "object", "properties": {}}


@asynccontextmanager
async def asked(path: str, body: Any, headers: Any = HEADERS) -> AsyncIterator[tuple[int, Any]]:
    """The status and the JSON that a request gets."""
    async with (
        Simulator(lambda _: say("Hi")) as simulator,
        aiohttp.request("POST", f"{simulator.url}{path}", json=body, headers=headers) as response,
    ):
        yield response.status, await response.json()


def chat_calls(name: str = "1", **more: Any) -> Any:
    function = {"name": "f", "arguments": "{}"}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": name, "function": function}], **more}


CHAT = {"model": "m", "messages": [USER]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "x"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "must provide a model"),
        ({"messages": []}, "empty array"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "Invalid value: 'robot'"),
        ({"messages": [USER, RESULT]}, "must be a response to a preceeding message"),
        ({"messages": [USER, chat_calls(), USER]}, "must be followed by tool messages"),
        ({"messages": [USER, chat_calls("2"), RESULT]}, "must be a response"),
        ({"messages": [USER, chat_calls()]}, "did not have response messages: 1"),
        ({"messages": [{"role": "user", "content": None}]}, "expected a string, got null"),
        ({"tools": []}, "Invalid 'tools': empty array"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
        ({"tools": [{"type": "function"}]}, "not a request"),
    ],
)
async def test_chat_completions_refuse(change: Any, words: str) -> None:
    async with asked(ROOT["chat"], {**CHAT, **change}) as (status, body):
        assert status == 400
        assert words in body["error"]["message"]
        assert body["error"]["type"] == "invalid_request_error"


RESPONSES = {"model": "m", "input": "Hi"}
CALLED = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
RETURNED = {"type": "function_call_output", "call_id": "1", "output": "x"}


def form(**more: Any) -> Any:
    return {"text": {"format": {"type": "json_schema", "name": "act", "schema": OBJECT, **more}}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": None}, "Missing required parameter: 'model'"),
        ({"input": []}, "Missing required parameter: 'input'"),
        ({"seed": 1}, "Unknown parameter: 'seed'"),
        ({"messages": [USER]}, "Unknown parameter: 'messages'"),
        ({"max_output_tokens": 5}, "Expected a value >= 16, but got 5"),
        ({"previous_response_id": "resp_0"}, "'resp_0' not found"),
        ({"input": [{"role": "tool", "content": "x"}]}, "Invalid value: 'tool'"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "Invalid value: 'text'"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, "'output_text' and 'refusal'"),
        ({"input": [USER, RETURNED]}, "No tool call found for function call output with call_id 1"),
        ({"input": [USER, CALLED]}, "No tool output found for function call 1"),
        ({"tools": [{"name": "f"}]}, "'tools[0].type'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "Missing required parameter: 'tools[0].name'"),
        ({"tools": [{"type": "browser"}]}, "Invalid value: 'browser'"),
        ({"tools": [{"type": "code_interpreter"}]}, "'tools[0].container'"),
        ({"tools": [{"type": "function", "name": "f", "parameters": OBJECT, "strict": True}]}, "'additionalProperties' is required"),
        (form(name=""), "'text.format.name'"),
        (form(schema={"anyOf": [OBJECT]}), "schema must be a JSON Schema"),
        (form(strict=True), "'additionalProperties' is required"),
    ],
)  # fmt: skip
async def test_responses_refuse(change: Any, words: str) -> None:
    async with asked(ROOT["responses"], {**RESPONSES, **change}) as (status, body):
        assert (status, words in body["error"]["message"]) == (400, True), body


TOOL = {"name": "f", "input_schema": OBJECT}
MESSAGES = {"model": "m", "max_tokens": 2000, "messages": [USER], "tools": [TOOL]}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}
GIVEN = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]}
THINKING = {"type": "enabled", "budget_tokens": 1024}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"temperature": 1, "top_p": 1}, "cannot both be specified"),
        ({"messages": []}, "at least one message is required"),
        ({"messages": [{"role": "system", "content": "x"}]}, "top-level `system` parameter"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 'must use the "user" role'),
        ({"messages": [{"role": "user", "content": ""}]}, "must have non-empty content"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "text content blocks must be non-empty"),
        ({"messages": [USER, GIVEN]}, "unexpected `tool_use_id` found in `tool_result` blocks: 1"),
        ({"messages": [USER, USED, USER]}, "`tool_use` ids were found without `tool_result` blocks immediately after: 1"),
        ({"messages": [USER, USED]}, "messages.1: `tool_use` ids were found without"),
        ({"messages": [USER, USED, GIVEN], "tools": []}, "must define tools"),
        ({"tools": [], "tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
        ({"tools": [TOOL, TOOL]}, "Tool names must be unique"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "input_schema.type: Field required"),
        ({"tools": [{"name": "f g", "input_schema": OBJECT}]}, "String should match pattern"),
        ({"tools": [{"type": "function", "name": "f"}]}, "Input tag 'function'"),
        ({"tools": [{"type": "web_search", "name": "web_search"}]}, "does not match any of the expected tags"),
        ({"thinking": {**THINKING, "budget_tokens": 9}}, "greater than or equal to 1024"),
        ({"thinking": THINKING, "max_tokens": 1024}, "must be greater than `thinking.budget_tokens`"),
        ({"thinking": THINKING, "temperature": 0.5}, "may only be set to 1 when thinking is enabled"),
        ({"thinking": THINKING, "tool_choice": {"type": "any"}}, "tool_choice forces tool use"),
        ({"model": "claude-opus-4-7", "temperature": 0.5}, "`temperature` is deprecated for this model"),
        ({"model": "claude-sonnet-5", "top_p": 1}, "`top_p` is deprecated for this model"),
        ({"model": "claude-opus-5-5", "thinking": THINKING}, '"thinking.type.enabled" is not supported'),
        ({"output_config": {"format": {"type": "json_schema", "schema": OBJECT}}}, "must be explicitly set to false"),
    ],
)  # fmt: skip
async def test_messages_refuse(change: Any, words: str) -> None:
    async with asked(ROOT["messages"], {**MESSAGES, **change}) as (status, body):
        assert (status, words in body["error"]["message"]) == (400, True), body
        assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")


@pytest.mark.parametrize("name", ["model", "max_tokens", "messages"])
async def test_messages_require(name: str) -> None:
    async with asked(ROOT["messages"], {key: value for key, value in MESSAGES.items() if key != name}) as (
        status,
        body,
    ):
        assert (status, body["error"]["message"]) == (400, f"{name}: Field required")


async def test_messages_require_their_version() -> None:
    async with asked(ROOT["messages"], MESSAGES, {"x-api-key": "k"}) as (status, body):
        assert (status, body["error"]["message"]) == (400, "anthropic-version: header is required")


HI = {"role": "user", "parts": [{"text": "Hi"}]}
FUNCTION = {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]}
DONE = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
SAID = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}


def declared(**schema: Any) -> Any:
    return {"tools": [{"function_declarations": [{"name": "f", "parameters": {"type": "object", **schema}}]}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"messages": [HI]}, 'Unknown name "messages": Cannot find field.'),
        ({"generationConfig": {"max_tokens": 5}}, "Unknown name \"maxTokens\" at 'generation_config'"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role: user, model"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"role": "user", "parts": [{"thought": True}]}]}, "must have one initialized field"),
        ({"contents": [HI, DONE]}, "number of function response parts"),
        ({"contents": [HI, SAID]}, "number of function response parts"),
        ({"contents": [DONE, SAID]}, "comes immediately after a user turn"),
        ({"tools": [{"functionDeclarations": [{"name": "1 f"}]}]}, "Invalid function name"),
        (declared(additionalProperties=False, **{"$schema": "x"}), 'Unknown name "$schema"'),
        (declared(properties={"a": {"const": "x"}}), 'Unknown name "const"'),
        (declared(properties={"a": {"type": "array", "items": {"oneOf": []}}}), 'Unknown name "oneOf"'),
        ({"tools": [FUNCTION, {"google_search": {}}]}, "include_server_side_tool_invocations"),
    ],
)  # fmt: skip
async def test_generate_content_refuses(change: Any, words: str) -> None:
    async with asked(GEMINI, {"contents": [HI], **change}) as (status, body):
        assert (status, words in body["error"]["message"]) == (400, True), body
        assert (body["error"]["code"], body["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_newer_gemini_models_want_the_signature_of_their_calls_back() -> None:
    signed = {"role": "model", "parts": [{**DONE["parts"][0], "thoughtSignature": "c2lnbmVk"}]}
    for model, turn, wanted in [
        ("gemini-3.6-flash", DONE, 400),
        ("gemini-3.6-flash", signed, 200),
        ("gemini-2.5-flash", DONE, 200),
    ]:
        async with asked(GEMINI.replace("gemini-2.5-flash", model), {"contents": [HI, turn, SAID]}) as (status, body):
            assert status == wanted, body


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ROOT["chat"], {**CHAT, "top_k": 3, "messages": [USER, chat_calls(), RESULT]}),
        (ROOT["responses"], {**RESPONSES, "input": [USER, CALLED, RETURNED], "tools": [{"type": "web_search"}]}),
        (ROOT["messages"], {**MESSAGES, "messages": [USER, USED, GIVEN], "thinking": THINKING}),
        (ROOT["messages"], {**MESSAGES, "model": "claude-opus-5-5", "temperature": 1, "thinking": {"type": "adaptive"}}),
        (ROOT["messages"], {**MESSAGES, "tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}),
        (GEMINI, {"contents": [HI, DONE, SAID], "system_instruction": {"parts": [{"text": "x"}]}, "tools": [FUNCTION]}),
        (GEMINI, {"contents": [HI], "tools": [{"googleSearch": {}}], "generation_config": {"max_output_tokens": 9}}),
        (GEMINI, {"contents": [HI], "tools": [FUNCTION, {"googleSearch": {}}], "toolConfig": {"includeServerSideToolInvocations": True}}),
        ("/openai/deployments/m/chat/completions?api-version=1", {"messages": [USER]}),
        ("/openai/v1/responses", RESPONSES),
    ],
)  # fmt: skip
async def test_what_the_api_accepts_is_accepted(path: str, body: Any) -> None:
    async with asked(path, body) as (status, answer):
        assert status == 200, answer


@pytest.mark.parametrize(
    ("path", "body", "refused"),
    [
        (ROOT["chat"], CHAT, 200),  # servers on this machine want no key
        (ROOT["messages"], MESSAGES, 401),
        (GEMINI, {"contents": [HI]}, 400),
        (f"{GEMINI}?key=k", {"contents": [HI]}, 200),
        ("/openai/deployments/m/chat/completions?api-version=1", CHAT, 401),
    ],
)
async def test_a_call_without_any_key_is_refused_where_the_provider_does(path: str, body: Any, refused: int) -> None:
    async with asked(path, body, {"anthropic-version": "1"}) as (status, _):
        assert status == refused


async def test_messages_take_the_form_of_the_reply_as_a_field_only_in_its_beta() -> None:
    body = {**MESSAGES, "output_format": {"type": "json_schema", "schema": {**OBJECT, "additionalProperties": False}}}
    for beta, wanted in ({}, 400), ({"anthropic-beta": "structured-outputs-2025-11-13"}, 200):
        async with asked(ROOT["messages"], body, {**HEADERS, **beta}) as (status, _):
            assert status == wanted


async def test_azure_finds_nothing_without_its_version() -> None:
    async with asked("/openai/deployments/m/chat/completions", CHAT) as (status, body):
        assert (status, body) == (404, {"error": {"code": "404", "message": "Resource not found"}})


async def test_a_gemini_stream_that_is_not_asked_for_as_events_is_an_array() -> None:
    async with asked(GEMINI.replace("generateContent", "streamGenerateContent"), {"contents": [HI]}) as (status, body):
        assert (status, [part["text"] for part in body[0]["candidates"][0]["content"]["parts"]]) == (200, ["Hi"])


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def test_the_fields_that_are_known_are_those_of_the_sdks() -> None:
    assert {*typing.get_type_hints(openai_params.ResponseCreateParamsBase), "stream"} == responses.FIELDS
    of_older_models = {"temperature", "top_p", "top_k"}  # which the SDK no longer types
    assert {
        *typing.get_type_hints(anthropic_params.MessageCreateParamsBase),
        "stream",
        *of_older_models,
    } == messages.FIELDS
    assert set(map(camel, types.Schema.model_fields)) <= gemini.SCHEMA
    of_vertex_alone = {
        "modelSelectionConfig",
        "routingConfig",
        "enableAffectiveDialog",
        "translationConfig",
        "audioTranscriptionConfig",
    }
    assert set(map(camel, types.GenerationConfig.model_fields)) - of_vertex_alone == gemini.GENERATION
    not_of_this_api = {"retrieval", "enterpriseWebSearch", "parallelAiSearch", "exaAiSearch", "mcpServers"}
    assert set(map(camel, types.Tool.model_fields)) - not_of_this_api - {"functionDeclarations"} == gemini.BUILT_IN
