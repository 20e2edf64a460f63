"""What each provider has: the table, what is refused by it, and what arrives at a server by it."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from massgen import builtins
from massgen.agents.loop import LoopAgent
from massgen.backends import Backend, Request, Tool
from massgen.backends.chat_completions import HttpPool
from massgen.builtins import SETTINGS, TABLE, having, plan, unsupported
from massgen.config import BackendType, Config
from massgen.config.checks import conflicts
from massgen.messages import Chunk, Finish, ReasoningDelta, TextDelta, ToolCallDelta, Usage, user
from massgen.team import build
from tests.handbook.providers_page import providers_page
from tests.providers import Act, Hosted, Reply, Simulator, say
from tests.providers.app import Record

VALUES: Mapping[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 50,
    "seed": 7,
    "stop": ["END"],
    "reasoning.effort": "low",
    "reasoning.summary": "auto",
    "text.verbosity": "low",
    "enable_web_search": True,
    "enable_code_execution": True,
}
EVERY = [(kind, setting) for kind in TABLE for setting in SETTINGS]
VOTE = Tool("vote", "Votes.", {"type": "object", "properties": {"agent_id": {"type": "string"}}})


def section(setting: str, value: Any = ..., **more: Any) -> dict[str, Any]:
    """A backend's section in which `setting` is set."""
    name, _, inner = setting.partition(".")
    given = VALUES[setting] if value is ... else value
    return {"model": "m", name: {inner: given} if inner else given, **more}


def test_every_type_has_a_row_that_says_from_which_pages_and_when() -> None:
    assert set(TABLE) == set(get_args(BackendType))
    for row in TABLE.values():
        assert row.sources
        assert all(re.match(r"https://\S+$", page) for page in row.sources)
        assert date(2026, 1, 1) < date.fromisoformat(row.checked)
        assert row.has <= set(SETTINGS)


@pytest.mark.parametrize(("kind", "setting"), EVERY)
def test_a_setting_is_sent_where_the_provider_has_it_and_refused_where_not(kind: str, setting: str) -> None:
    given = section(setting)
    problems = list(unsupported(kind, given))
    if setting in TABLE[kind].has:
        assert problems == []
        assert plan(kind, given).options
    else:
        assert plan(kind, given).options == {}
        ((where, why),) = problems
        assert ".".join(where) == setting
        assert why.startswith(f"{kind} has no {SETTINGS[setting]}; those that have: {', '.join(having(setting))}.")


def test_the_refusal_names_those_that_have() -> None:
    ((where, why),) = unsupported("cerebras", {"model": "m", "enable_web_search": True})
    assert where == ("enable_web_search",)
    assert why == "cerebras has no web search; those that have: claude, gemini, grok, openai, openrouter."


def test_a_refusal_says_what_to_do_instead() -> None:
    ((_, why),) = unsupported("chatcompletion", {"enable_code_execution": True})
    assert "`extra_body`" in why
    ((_, why),) = unsupported("azure_openai", {"enable_web_search": True})
    assert "openai.azure.com/openai/v1" in why


def test_the_other_name_of_code_execution_means_the_same() -> None:
    one, other = (plan("openai", {name: True}) for name in ("enable_code_execution", "enable_code_interpreter"))
    assert one == other
    ((where, _),) = unsupported("groq", {"enable_code_interpreter": True})
    assert where == ("enable_code_interpreter",)


@pytest.mark.parametrize("kind", TABLE)
def test_what_is_off_or_empty_is_never_refused(kind: str) -> None:
    off = {"enable_web_search": False, "enable_code_execution": None, "reasoning": {"effort": None}, "text": None}
    assert list(unsupported(kind, {**off, "seed": None, "enable_code_interpreter": False})) == []


@pytest.mark.parametrize("shape", [{}, {"reasoning": 5}, {"text": ["low"]}, {"model": 5, "seed": "x"}, {"stop": {}}])
def test_any_shape_is_taken(shape: dict[str, Any]) -> None:
    for kind in TABLE:
        list(unsupported(kind, shape))


def test_a_configuration_tells_where() -> None:
    problems = list(
        conflicts({"agents": [{"backend": {"type": "zai", "model": "glm-5", "reasoning": {"effort": "low"}}}]})
    )
    ((where, why),) = problems
    assert where == ("agents", 0, "backend", "reasoning", "effort")
    assert "zai has no reasoning effort; those that have: " in why


@pytest.mark.parametrize(
    ("model", "fine"), [("gemini-2.5-flash", False), ("gemini-3-pro", True), ("gemini-flash-latest", True)]
)
def test_geminis_that_have_either_built_ins_or_functions_are_told_so(model: str, *, fine: bool) -> None:
    problems = list(unsupported("gemini", {"model": model, "enable_web_search": True, "seed": 1}))
    assert [where for where, _ in problems] == ([] if fine else [("enable_web_search",)])
    assert all(
        why.startswith("gemini-2.5-flash has no web search beside functions. Built-ins need") for _, why in problems
    )


@pytest.mark.parametrize(
    ("settings", "responses"),
    [
        ({"model": "gpt-4o"}, False),
        ({"model": "gpt-5-mini", "reasoning": {"effort": "low"}}, False),
        ({"model": "gpt-5.1"}, False),
        ({"model": "gpt-5-mini", "reasoning": {"summary": "auto"}}, True),
        ({"model": "gpt-4o", "enable_web_search": True}, True),
        ({"model": "gpt-5.4-mini"}, True),
        ({"model": "gpt-5.6-terra", "reasoning": {"effort": "none"}}, False),
        ({"model": "gpt-6"}, True),
        ({"model": "o3-pro"}, True),
        ({"model": "gpt-5.1-codex"}, True),
    ],
)
def test_openai_is_asked_by_the_api_that_can_do_it(settings: dict[str, Any], *, responses: bool) -> None:
    assert plan("openai", settings).responses is responses


def test_what_the_other_api_has_not_is_refused() -> None:
    problems = dict(unsupported("openai", {"model": "gpt-5.6", "seed": 7, "stop": ["x"], "temperature": 1}))
    assert set(problems) == {("seed",), ("stop",)}
    assert problems["seed",].startswith(
        "openai has no seed in the API that the other settings or the model need. `seed`"
    )
    assert [*unsupported("grok", {"stop": ["x"]})] == []
    assert [where for where, _ in unsupported("grok", {"stop": ["x"], "enable_web_search": True})] == [("stop",)]


def test_fields_keep_their_levels_and_extra_fields_go_along() -> None:
    settings = {
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "high"},
        "extra_body": {"a": 1},
    }
    assert plan("openai", settings).options == {
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "high"},
        "extra_body": {"a": 1},
    }


# --- on the wire ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def backend_of(address: str, kind: str, settings: Mapping[str, Any]) -> AsyncIterator[Backend]:
    """The backend that a configuration of such an agent makes."""
    section = {"type": kind, "base_url": address, "api_key": "sk-key-0123456789", **settings}
    config = Config.model_validate({"agents": [{"backend": section}]})
    async with HttpPool() as pool, build(config, {}, pool) as team:
        (agent,) = team.agents.values()
        assert isinstance(agent, LoopAgent)
        yield agent.backend


async def asked(kind: str, reply: Reply, **settings: Any) -> tuple[list[Chunk], Record]:
    """What such an agent got of OpenAI's servers, simulated, and what it sent."""
    async with Simulator(lambda _: reply) as sim, backend_of(sim.address(kind), kind, settings) as backend:
        got = [chunk async for chunk in backend.stream(Request([user("Hello")], [VOTE]))]
        (sent,) = sim.calls
        return got, sent


async def asked_elsewhere(kind: str, *events: Mapping[str, Any], **settings: Any) -> tuple[list[Chunk], str, Any]:
    """The same of a server that takes anything: what came, the path and the body sent. Others' dialects are not OpenAI's."""
    sent: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append((request.path, await request.json()))
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return web.Response(text=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with TestServer(app) as server, backend_of(f"{server.make_url('/v1')}", kind, settings) as backend:
        got = [chunk async for chunk in backend.stream(Request([user("Hello")], [VOTE]))]
    ((path, body),) = sent
    return got, path, body


BUILT_INS = (Hosted("web_search", "sky", "https://a.example"), Hosted("code", "print(1)", "1"))
REPLY = Reply(text="Blue.", reasoning="Hm.", hosted=BUILT_INS, acts=(Act("vote", '{"agent_id": "agent1"}'),))


async def test_openai_runs_its_tools_beside_ours() -> None:
    settings = {"reasoning": {"effort": "low", "summary": "auto"}, "text": {"verbosity": "low"}, "max_tokens": 99}
    got, sent = await asked(
        "openai", REPLY, model="gpt-5-mini", enable_web_search=True, enable_code_interpreter=True, **settings
    )
    assert sent.path == "/v1/responses"
    assert [tool.get("name", tool["type"]) for tool in sent.body["tools"]] == ["vote", "web_search", "code_interpreter"]
    assert sent.body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert (sent.body["text"], sent.body["max_output_tokens"], sent.body["store"]) == ({"verbosity": "low"}, 99, False)
    assert ReasoningDelta("Hm.") in got
    assert TextDelta("Blue.") in got
    assert [chunk.name for chunk in got if isinstance(chunk, ToolCallDelta) and chunk.name] == ["vote"]


async def test_openai_without_built_ins_is_asked_for_chat_completions() -> None:
    _, sent = await asked("openai", say("Hi"), model="gpt-5-mini", text={"verbosity": "low"}, max_tokens=9, seed=1)
    assert sent.path == "/v1/chat/completions"
    assert [sent.body[name] for name in ("verbosity", "max_completion_tokens", "seed")] == ["low", 9, 1]


async def test_grok_runs_its_tools_beside_ours() -> None:
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    got, path, body = await asked_elsewhere(
        "grok",
        {"type": "response.output_item.done", "output_index": 0, "item": searched},
        {"type": "response.output_text.delta", "delta": "Blue."},
        {"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}},
        model="grok-4",
        enable_web_search=True,
        enable_code_execution=True,
        reasoning={"effort": "low"},
    )
    assert path == "/v1/responses"
    assert body["tools"][1:] == [{"type": "web_search"}, {"type": "code_interpreter"}]
    assert body["reasoning"] == {"effort": "low"}
    assert got == [TextDelta("Blue."), Usage(1, 2), Finish("stop")]


async def test_openrouter_searches_in_its_chat_completions() -> None:
    def calling(index: int, name: str, arguments: str) -> dict[str, Any]:
        call = {"index": index, "id": f"call_{index}", "function": {"name": name, "arguments": arguments}}
        return {"choices": [{"delta": {"tool_calls": [call]}}]}

    got, _, body = await asked_elsewhere(
        "openrouter",
        calling(0, "openrouter:web_search", "{"),
        {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]},
        calling(1, "vote", "{}"),
        {"choices": [{"delta": {"content": "Blue."}, "finish_reason": "tool_calls"}]},
        model="a/b",
        enable_web_search=True,
        reasoning={"effort": "high", "summary": "auto"},
        temperature=0.5,
        stop=["x"],
    )
    assert body["tools"][1:] == [{"type": "openrouter:web_search"}]
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert (body["temperature"], body["stop"]) == (0.5, ["x"])
    assert got == [ToolCallDelta(1, "call_1", "vote", "{}"), TextDelta("Blue."), Finish("tool_calls")]


async def test_tools_in_extra_body_come_after_ours() -> None:
    _, path, body = await asked_elsewhere(
        "groq",
        {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]},
        model="m",
        extra_body={"tools": [{"type": "browser_search"}], "top_k": 4},
        max_tokens=9,
        reasoning={"effort": "low"},
    )
    assert path == "/v1/chat/completions"
    assert [tool["type"] for tool in body["tools"]] == ["function", "browser_search"]
    assert [body[name] for name in ("top_k", "max_completion_tokens", "reasoning_effort")] == [4, 9, "low"]


def test_the_table_is_pure_data() -> None:
    assert not {"massgen.config", "os", "asyncio"} & set(vars(builtins))


def test_the_handbooks_page_shows_every_provider_and_every_source() -> None:
    page = providers_page()
    for kind, row in TABLE.items():
        assert page.count(f"\n| `{kind}` |") == 3
        assert all(f"]({source})" in page for source in row.sources)
    shown = [line.count(" yes ") for line in page.splitlines() if line.startswith("| `openai` |")]
    assert shown == [len(SETTINGS), 0, 0]
