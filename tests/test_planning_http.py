"""Our tools over HTTP: real clients, on loopback, with the tokens that agents get."""

import asyncio
import http.client
import json
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from massgen.errors import LogError
from massgen.planning import Plan, changed
from massgen.planning import tools as planning_tools
from massgen.planning.tools import TOOLS, Outcome
from massgen.servers import MAX_MESSAGE, Attached
from massgen.servers.http import serve_http
from tests.inspector import inspected

AGENTS = [f"agent{number}" for number in range(1, 9)]
USED: dict[str, Any] = {"name": "get_task_plan", "arguments": {}}
CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": USED}


class Team:
    """A plan in memory, and who changed it."""

    def __init__(self, *tasks: Any) -> None:
        self.plan = Plan(scope="team")
        self.calls = list[tuple[str, str]]()
        if tasks:
            self.call("nobody", "create_task_plan", {"tasks": [*tasks]})

    def call(self, agent: str, tool: str, arguments: Any) -> Outcome:
        self.calls.append((agent, tool))
        outcome = planning_tools.call(self.plan, tool, arguments, agent=agent, at=1.0)
        if outcome.change:
            self.plan = changed(self.plan, outcome.change)
        return outcome


@asynccontextmanager
async def client(at: Attached, mode: Any = "auto") -> AsyncGenerator[Client]:
    """mcp's own, as that agent."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {at.token}"}) as through,
        Client(streamable_http_client(at.url, http_client=through), mode=mode) as talking,
    ):
        yield talking


async def post(at: Attached, body: Any = CALL, *, method: str = "POST", path: str = "/mcp", **headers: str) -> Any:
    """The status, the headers and the text of what comes back for a request made by hand."""

    def asked() -> tuple[int, Mapping[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", urlsplit(at.url).port, timeout=5)
        given = {
            "Authorization": f"Bearer {at.token}",
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), given)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, dict(response.getheaders()), text

    return await asyncio.to_thread(asked)


async def test_eight_agents_claim_at_the_same_time_and_no_task_goes_to_two() -> None:
    team = Team(*(f"task {number}" for number in range(16)))

    async def worker(at: Attached) -> list[str]:
        got = list[str]()
        async with client(at) as mine:
            for name in team.plan.tasks:  # all of them reach for the same one
                result = await mine.call_tool("update_task_status", {"task_id": name, "status": "in_progress"})
                assert result.is_error or result.structured_content
                got += [] if result.is_error else [name]
        return got

    async with serve_http(team.call, AGENTS) as places:
        assert [*places] == AGENTS
        assert len({at.token for at in places.values()}) == len(AGENTS)
        got = await asyncio.gather(*map(worker, places.values()))
    assert sorted(name for each in got for name in each) == sorted(team.plan.tasks)
    assert {name: agent for agent, names in zip(AGENTS, got, strict=True) for name in names} == {
        task.id: task.assignee for task in team.plan.tasks.values()
    }
    assert sum(map(bool, got)) > 1


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_every_tool_is_listed_and_used_as_it_is_in_process(mode: str) -> None:
    team, twin = Team(), Team()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("create_task_plan", {"tasks": ["dig", {"description": "plant", "depends_on": [0]}]}),
        ("get_ready_tasks", {}),
        ("get_blocked_tasks", {}),
        ("update_task_status", {"task_id": "t1", "status": "in_progress"}),
        ("edit_task", {"task_id": "t2", "priority": "high"}),
        ("add_task", {"description": "water", "depends_on": ["t2"]}),
        ("delete_task", {"task_id": "t3"}),
        ("get_task_plan", {}),
        ("delete_task", {"task_id": "t1"}),
    ]
    async with serve_http(team.call, ["agent1"]) as places, client(places["agent1"], mode) as mine:
        listed = (await mine.list_tools()).tools
        for name, arguments in calls:
            result = await mine.call_tool(name, arguments)
            expected = twin.call("agent1", name, arguments)
            text = getattr(result.content[0], "text", "")
            told = {"error": text} if expected.is_error else json.loads(text)
            assert (result.is_error, told) == (expected.is_error, expected.result)
            assert result.structured_content == (None if expected.is_error else expected.result)
    assert [(each.name, each.input_schema, each.output_schema) for each in listed] == [
        (tool.name, tool.parameters, tool.result) for tool in TOOLS
    ]
    assert {name for name, _ in calls} == {tool.name for tool in TOOLS}


async def test_the_token_says_who_calls_whatever_else_is_sent() -> None:
    team = Team("dig")
    async with serve_http(team.call, AGENTS[:2]) as places, client(places["agent2"]) as second:
        result = await second.call_tool("update_task_status", {"task_id": "t1", "status": "in_progress"})
        assert (result.structured_content or {})["task"]["assignee"] == "you"
        body = CALL | {"params": {**USED, "_meta": {"agent": "agent2"}}}
        status, _, text = await post(places["agent1"], body, Mcp_Session_Id="agent2")
    assert status == 200
    assert json.loads(text)["result"]["structuredContent"]["tasks"][0]["assignee"] == "agent2"
    assert team.calls[1:] == [("agent2", "update_task_status"), ("agent1", "get_task_plan")]


async def test_a_refusal_is_no_json_that_a_client_could_hold_against_the_schema_of_a_result() -> None:
    """Gemini CLI does so, and tells its model nothing of why its call was refused."""
    async with serve_http(Team("dig").call, ["agent1"]) as places, client(places["agent1"]) as mine:
        result = await mine.call_tool("update_task_status", {"task_id": "t1", "status": "completed"})
    (content,) = result.content
    assert result.is_error
    assert getattr(content, "text", "") == ('t1 was not started: call update_task_status("t1", "in_progress") first.')


async def test_what_a_client_adds_to_every_call_for_its_own_use_is_left_out() -> None:
    """As Gemini CLI does."""
    team = Team("dig")
    async with serve_http(team.call, ["agent1"]) as places, client(places["agent1"]) as mine:
        for used in (
            mine.call_tool("get_task_plan", {"wait_for_previous": True}),
            mine.call_tool("add_task", {"description": "plant", "wait_for_previous": False}),
        ):
            assert not (await used).is_error
    assert [*team.plan.tasks] == ["t1", "t2"]


@pytest.mark.parametrize(
    "given", ["", "Bearer ", "Bearer wrong", "Basic {}", "{}", "Bearer {}x", "Bearer {} {}", "Bearer \xe9"]
)
async def test_nobody_else_gets_in(given: str) -> None:
    team = Team("dig")
    async with serve_http(team.call, ["agent1"]) as places:
        at = places["agent1"]
        header = given.format(at.token, at.token)
        status, headers, text = await post(at, Authorization=header)
        assert (status, headers["www-authenticate"], at.token in text) == (401, "Bearer", False)
        assert '"Authorization: Bearer TOKEN"' in text
    assert len(team.calls) == 1


async def test_the_name_of_the_scheme_may_be_in_any_case() -> None:
    """As RFC 9110 has it (11.1)."""
    async with serve_http(Team("dig").call, ["agent1"]) as places:
        at = places["agent1"]
        assert [(await post(at, Authorization=f"{word} {at.token}"))[0] for word in ("bearer", "BEARER")] == [200, 200]


async def test_what_a_page_in_a_browser_could_send_is_refused() -> None:
    team = Team("dig")
    async with serve_http(team.call, ["agent1"]) as places:
        at = places["agent1"]
        port = urlsplit(at.url).port
        assert (await post(at, Host=f"evil.example:{port}"))[0] == 421
        assert (await post(at, Host=f"127.0.0.1:{port}.evil.example"))[0] == 421
        assert (await post(at, Origin="http://evil.example"))[0] == 403
        assert (await post(at, Origin="http://127.0.0.1:1"))[0] == 403
        assert (await post(at, Content_Type="text/plain"))[0] == 400
        assert len(team.calls) == 1
        assert (await post(at, Origin=f"http://localhost:{port}", Host=f"localhost:{port}"))[0] == 200
    assert len(team.calls) == 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"[]", 400),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}, 200),
        (b" " * (MAX_MESSAGE + 1), 413),
    ],
    ids=["torn", "deep", "a batch", "no parameters", "too large"],
)
async def test_a_body_that_is_no_call_is_refused_and_the_next_is_served(body: Any, told: int) -> None:
    team = Team("dig")
    async with serve_http(team.call, ["agent1"]) as places:
        status, _, text = await post(places["agent1"], body)
        assert (status, "error" in text or status == 413) == (told, True)
        assert (await post(places["agent1"]))[0] == 200
    assert len(team.calls) == 2


async def test_only_post_to_the_one_address_is_answered() -> None:
    async with serve_http(Team("dig").call, ["agent1"]) as places:
        at = places["agent1"]
        for method in ("GET", "DELETE"):
            status, headers, text = await post(at, b"", method=method)
            assert (status, headers["allow"]) == (405, "POST")
            assert "POST" in text
        status, _, text = await post(at, path="/.well-known/oauth-protected-resource")
        assert (status, "/mcp" in text) == (404, True)


async def test_what_the_team_cannot_record_is_told_to_the_agent() -> None:
    def call(agent: str, tool: str, arguments: Any) -> Outcome:
        raise LogError("cannot be written: No space left on device", where="events.jsonl", fix="Free some space.")

    async with serve_http(call, ["agent1"]) as places, client(places["agent1"]) as mine:
        result = await mine.call_tool("get_task_plan", {})
    assert result.is_error
    assert "No space left on device" in str(result.content)


async def test_no_log_and_no_text_of_ours_has_a_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve_http(Team("dig").call, ["agent1"]) as places:
        at = places["agent1"]
        async with client(at) as mine:
            await mine.call_tool("get_task_plan", {})
        await post(at, Origin="http://evil.example")
        await post(at, Authorization=f"Basic {at.token}")
    assert caplog.records
    assert at.token not in repr(at) + caplog.text


async def test_at_its_end_every_connection_is_closed_and_signals_are_as_before() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    before = asyncio.all_tasks()
    async with asyncio.timeout(5), serve_http(Team("dig").call, ["agent1"]) as places:
        at = places["agent1"]
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        port = urlsplit(at.url).port or 0
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {at.token}\r\n".encode())
        writer.write(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        assert (await post(at))[0] == 200
    assert b"200" not in await reader.read()  # it ends
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert asyncio.all_tasks() == before


async def test_a_run_that_is_cancelled_leaves_no_server() -> None:
    ready: asyncio.Future[Attached] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with serve_http(Team("dig").call, ["agent1"]) as places:
            ready.set_result(places["agent1"])
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    port = urlsplit((await ready).url).port
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.timeout(60)
@pytest.mark.npm
async def test_the_inspector_uses_every_tool() -> None:
    team = Team()
    calls: dict[str, dict[str, Any]] = {
        "create_task_plan": {"tasks": ["dig", {"description": "plant", "depends_on": [0]}]},
        "get_ready_tasks": {},
        "get_blocked_tasks": {},
        "update_task_status": {"task_id": "t1", "status": "in_progress"},
        "edit_task": {"task_id": "t2", "metadata": {"bed": 3}},
        "add_task": {"description": "water"},
        "delete_task": {"task_id": "t3"},
        "get_task_plan": {},
    }
    async with serve_http(team.call, ["agent1"]) as places:
        at = places["agent1"]
        target = (at.url, "--header", f"Authorization: Bearer {at.token}")
        code, listed = await inspected(*target, "--method", "tools/list", "--strict")
        assert (code, [each["name"] for each in listed["tools"]]) == (0, [tool.name for tool in TOOLS])
        for tool, arguments in calls.items():
            code, result = await inspected(
                *target, "--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)
            )
            assert (code, result["isError"], "progress" in result["structuredContent"]) == (0, False, True)
    assert [tool for _, tool in team.calls] == [*calls]
