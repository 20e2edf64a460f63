"""`massgen mcp serve planning`: a program that any MCP client starts, and the file that the plan is kept in."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters

from massgen.errors import LogError, UsageError
from massgen.events import PlanChanged, Stopped
from massgen.log import Log, read
from massgen.planning import Plan, changed
from massgen.planning.tools import TOOLS
from massgen.servers import MAX_MESSAGE
from massgen.servers.plan_file import PlanFile
from massgen.servers.planning import planning_server
from tests.command import ended, massgen, started
from tests.inspector import inspected

pytestmark = pytest.mark.timeout(60)  # importing mcp takes a second or two, in each process
SERVE = ("mcp", "serve", "planning")
DIG = {"tasks": ["dig", {"description": "plant", "depends_on": [0]}]}
START = {"task_id": "t1", "status": "in_progress"}


def asked(number: int, method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


def called(number: int, tool: str, **arguments: Any) -> bytes:
    return asked(number, "tools/call", name=tool, arguments=arguments)


HELLO = (
    asked(0, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "x", "version": "1"})
    + b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
)


def answers(out: str) -> dict[Any, Any]:
    """Of each message on stdout, by its id, the result or the error. Fails for anything else."""
    messages = [json.loads(line) for line in out.splitlines()]
    assert all(each["jsonrpc"] == "2.0" for each in messages)
    return {each["id"]: each.get("result") or each["error"] for each in messages}


def plan_in(path: Path) -> Plan:
    plan = Plan()
    for recorded in read(path):
        assert isinstance(recorded.fact, PlanChanged)
        plan = changed(plan, recorded.fact.change)
    return plan


@asynccontextmanager
async def served(*arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The command, once it has answered."""
    async with started(*SERVE, *arguments) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(HELLO)
        assert b"massgen-planning" in await process.stdout.readline()
        yield process


# --- the program -----------------------------------------------------------------------------------------------------


async def test_a_client_uses_every_tool_and_finds_the_plan_again(tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "massgen", *SERVE, "--plan", str(tmp_path / "plan.jsonl")],
        env={"MASSGEN_HOME": str(tmp_path)},
    )
    async with Client(server) as client:
        assert [each.name for each in (await client.list_tools()).tools] == [tool.name for tool in TOOLS]
        for name, arguments in {
            "create_task_plan": DIG,
            "get_ready_tasks": {},
            "get_blocked_tasks": {},
            "update_task_status": START,
            "edit_task": {"task_id": "t2", "metadata": {"bed": 3}},
            "add_task": {"description": "water"},
            "delete_task": {"task_id": "t3"},
        }.items():
            result = await client.call_tool(name, arguments)
            assert (result.is_error, "progress" in (result.structured_content or {})) == (False, True)
    async with Client(server) as client:
        plan = (await client.call_tool("get_task_plan", {})).structured_content
    assert plan == {
        "tasks": [
            {"id": "t1", "description": "dig", "status": "in_progress"},
            {
                "id": "t2",
                "description": "plant",
                "status": "pending",
                "metadata": {"bed": 3},
                "depends_on": ["t1"],
                "waits_for": ["t1"],
            },
        ],
        "progress": "0/2",
    }


@pytest.mark.npm
async def test_the_inspector_finds_no_fault_and_uses_a_tool(tmp_path: Path) -> None:
    path = str(tmp_path / "plan.jsonl")
    target = (sys.executable, "-m", "massgen", *SERVE, "--plan", path)
    code, listed = await inspected(*target, "--method", "tools/list", "--strict")
    assert (code, [each["name"] for each in listed["tools"]]) == (0, [tool.name for tool in TOOLS])
    code, made = await inspected(
        *target, "--method", "tools/call", "--tool-name", "create_task_plan", "--tool-args-json", json.dumps(DIG)
    )
    assert (code, made["structuredContent"]) == (0, {"tasks": ["t1", "t2"], "ready": ["t1"], "progress": "0/2"})


async def test_all_that_was_asked_is_answered_when_stdin_ends_and_stdout_has_nothing_else(tmp_path: Path) -> None:
    too_long = called(4, "add_task", description="x" * MAX_MESSAGE)
    asking = [
        HELLO,
        b"hello?\n\n   \n",
        called(1, "create_task_plan", **DIG),
        called(2, "update_task_status", **START),
        too_long,
        called(3, "fly"),
        asked(5, "resources/list"),
        called(6, "get_task_plan").strip(),
    ]
    ran = await massgen(*SERVE, "--plan", "plan.jsonl", stdin=b"".join(asking))
    got = answers(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert [*got] == [0, None, 1, 2, 3, 5, 6]
    assert got[None]["code"] == -32700
    assert ran.out.count("This line was left out: ") == 2
    assert "it is no JSON-RPC message" in ran.out
    assert "more than 4 MB" in ran.out
    assert (got[3]["code"], "there are create_task_plan" in got[3]["message"]) == (-32602, True)
    assert got[6]["structuredContent"]["tasks"][0]["status"] == "in_progress"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_ends_it_at_once_while_a_client_is_silent(number: signal.Signals) -> None:
    async with served() as process:
        process.send_signal(number)
        ran = await ended(process)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err.endswith("massgen: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupt_ends_it_while_a_client_floods_it(number: signal.Signals) -> None:
    async with served() as process:
        assert process.stdin
        process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}\n' * 20_000)
        process.send_signal(number)
        ran = await ended(process)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err.endswith("massgen: interrupted\n")


async def test_a_client_that_does_not_read_any_more_ends_it(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    async with started(*SERVE, "--plan", "plan.jsonl", stdout=writing) as process:
        os.close(writing)
        os.close(reading)
        assert process.stdin
        process.stdin.write(HELLO)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_on_a_terminal_it_says_what_it_waits_for_and_where_the_plan_is(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    async with started(*SERVE, stdin=theirs) as process:
        os.close(theirs)
        assert process.stderr
        kept, waiting = [(await process.stderr.readline()).decode() for _ in range(2)]
        os.close(ours)
        await process.wait()
    assert kept.startswith(f"massgen: the plan is kept in {tmp_path / 'home' / 'data' / 'plans'}")
    assert "--plan" in kept
    assert "an MCP client is waited for" in waiting
    assert "Ctrl-C" in waiting
    assert not (tmp_path / "home" / "data" / "plans").exists()  # nothing was planned


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("folder", None, "is a directory"),
        ("notes.txt", "buy milk\n", "not a session log"),
        ("file/plan.jsonl", None, "cannot be written"),
    ],
)
async def test_a_file_that_cannot_be_a_plan_is_refused_at_once(
    tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    if content:
        (tmp_path / name).write_text(content)
    ran = await massgen(*SERVE, "--plan", name, stdin=HELLO)
    assert (ran.code, ran.out, told in ran.err, name in ran.err) == (2, "", True, True)
    assert not content or (tmp_path / name).read_text() == content


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
async def test_without_stdin_or_stdout_no_plan_is_touched(tmp_path: Path, closed: str) -> None:
    run = f'"{sys.executable}" -m massgen mcp serve planning --plan plan.jsonl {closed}'
    process = await asyncio.create_subprocess_exec("sh", "-c", run, stderr=asyncio.subprocess.PIPE)
    ran = await ended(process)
    assert (ran.code, "is closed" in ran.err, "MCP client" in ran.err) == (2, True, True)
    assert not (tmp_path / "plan.jsonl").exists()


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65])
async def test_a_name_that_is_none_is_refused(name: str) -> None:
    ran = await massgen(*SERVE, "--agent", name)
    assert (ran.code, "--agent" in ran.err, "at most 64 characters" in ran.err) == (2, True, True)


async def test_help_does_not_wait_for_mcp() -> None:
    code = "import sys; from massgen.cli import run; run(['mcp', 'serve', 'planning', '--help']); print('mcp' in sys.modules)"
    async with started("-c", code, program=()) as process:
        ran = await ended(process)
    assert "--plan" in ran.out
    assert ran.out.endswith("False\n")


# --- kill -9 ---------------------------------------------------------------------------------------------------------


async def test_kill_9_in_the_middle_of_changes_leaves_a_whole_plan_with_all_that_was_answered(tmp_path: Path) -> None:
    path, known = tmp_path / "plan.jsonl", 0
    for life in range(3):
        async with served("--plan", str(path)) as process:
            assert process.stdin
            assert process.stdout
            first = called(1, "create_task_plan", tasks=["task"]) if life == 0 else b""
            process.stdin.write(
                first + b"".join(called(number, "add_task", description=f"more {number}") for number in range(2, 30))
            )
            for _ in range(7 + life):
                assert '"isError":false' in (await process.stdout.readline()).decode()
                known += 1
            process.kill()
            await process.wait()
        names = [*plan_in(path).tasks]
        assert names == [f"t{number}" for number in range(1, len(names) + 1)]
        assert len(names) >= known
        known = len(names)


async def test_a_file_cut_at_any_byte_is_the_plan_before_or_after_the_change(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    file = PlanFile(whole, "agent")
    file.call("a", "create_task_plan", DIG)
    before = whole.stat().st_size
    file.call("a", "update_task_status", START)
    data = whole.read_bytes()
    for size in range(before, len(data) + 1):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(data[:size])
        tasks = PlanFile(path, "agent").call("a", "get_task_plan", {}).result["tasks"]
        assert tasks[0]["status"] == ("in_progress" if size == len(data) else "pending")
        path.unlink()


# --- the file --------------------------------------------------------------------------------------------------------


async def test_a_file_is_shared_and_no_task_goes_to_two(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    PlanFile(path, "team").call("lead", "create_task_plan", {"tasks": [f"task {number}" for number in range(30)]})
    code = (
        "import sys; from pathlib import Path; from massgen.servers.plan_file import PlanFile; sys.stdin.readline()\n"
        "file = PlanFile(Path(sys.argv[1]), 'team')\n"
        "for n in range(1, 31):\n"
        "    given = {'task_id': f't{n}', 'status': 'in_progress'}\n"
        "    if not file.call(sys.argv[2], 'update_task_status', given).is_error: print(f't{n}')\n"
    )
    workers = [started("-c", code, str(path), name, program=()) for name in ("ann", "bob", "cy", "dee")]
    processes = [await each.__aenter__() for each in workers]
    got = await asyncio.gather(*(ended(process, b"go\n") for process in processes))
    for each in workers:
        await each.__aexit__(None, None, None)
    assert [(ran.code, ran.err) for ran in got] == [(0, "")] * 4
    names = [name for ran in got for name in ran.out.split()]
    assert sorted(names) == sorted(plan_in(path).tasks)
    assert len(read(path)) == 31


def test_in_a_team_others_tasks_are_theirs_and_alone_the_plan_can_be_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    ann, bob = PlanFile(path, "team"), PlanFile(path, "team")
    ann.call("ann", "create_task_plan", DIG)
    ann.call("ann", "update_task_status", START)
    assert "is being done by ann" in bob.call("bob", "update_task_status", START).result["error"]
    assert bob.call("bob", "get_task_plan", {}).result["tasks"][0]["assignee"] == "ann"
    assert bob.call("bob", "create_task_plan", DIG).is_error
    assert not PlanFile(path, "agent").call("agent", "create_task_plan", {"tasks": ["anew"]}).is_error
    assert [task["description"] for task in ann.call("ann", "get_task_plan", {}).result["tasks"]] == ["anew"]


def test_another_file_in_its_place_is_another_plan(tmp_path: Path) -> None:
    path, other = tmp_path / "plan.jsonl", tmp_path / "other.jsonl"
    file = PlanFile(path, "agent")
    file.call("a", "create_task_plan", DIG)
    path.unlink()
    assert file.call("a", "get_task_plan", {}).result["tasks"] == []
    file.call("a", "create_task_plan", DIG)
    for tasks in (["one"], ["two"]):
        PlanFile(other, "agent").call("a", "create_task_plan", {"tasks": tasks})
    other.replace(path)
    assert [task["description"] for task in file.call("a", "get_task_plan", {}).result["tasks"]] == ["two"]


def test_a_session_is_no_plan_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Log(path) as log:
        log.append(Stopped("answered"))
    before = path.read_bytes()
    with pytest.raises(UsageError, match="a session's log"):
        PlanFile(path, "agent").check()
    assert path.read_bytes() == before


async def test_a_file_that_another_process_holds_is_told_to_the_agent_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    file = PlanFile(path, "agent", tries=2)
    with Log(path):
        with pytest.raises(LogError, match="another process"):
            file.check()
        async with Client(planning_server(file.call, "agent")) as client:
            result = await client.call_tool("create_task_plan", DIG)
            assert (result.is_error, "another process" in str(result.content)) == (True, True)
    assert len(read(path)) == 0


async def test_a_tool_that_there_is_not_is_the_clients_error(tmp_path: Path) -> None:
    async with Client(planning_server(PlanFile(tmp_path / "plan.jsonl", "agent").call, "agent")) as client:
        with pytest.raises(MCPError, match="There is no tool 'fly'; there are create_task_plan"):
            await client.call_tool("fly", {})
