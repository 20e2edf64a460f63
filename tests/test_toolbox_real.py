"""The reference servers, from npm and PyPI, as they are installed by `npm ci --prefix tests/toolbox` and the dev extra."""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from massgen.config.tools import McpServer
from massgen.toolbox import Offered
from massgen.toolbox.agent import agent_toolbox
from massgen.toolbox.servers import Servers
from tests.conftest import Begun
from tests.mcp_servers import MODULES


def from_npm(name: str, *args: str, **settings: object) -> McpServer:
    program = MODULES / ".bin" / f"mcp-server-{name}"
    assert program.exists(), "the servers are not installed: npm ci --prefix tests/toolbox"
    return McpServer.model_validate({"command": str(program), "args": [*args], **settings})


def from_pypi(name: str, *args: str) -> McpServer:
    return McpServer(command=sys.executable, args=["-m", f"mcp_server_{name}", *args])


NOON = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
ENTITY = {"name": "massgen", "entityType": "team", "observations": ["votes"]}


async def repository(folder: Path) -> Path:
    for command in (["init", "-q", "-b", "main"], ["config", "user.name", "A"], ["config", "user.email", "a@b.c"]):
        git = await asyncio.create_subprocess_exec("git", "-C", str(folder), *command)
        assert await git.wait() == 0
    return folder


UNLIKE = {
    "mcp__files__read_text_file": "read",
    "mcp__git__git_log": "read",
    "mcp__files__create_directory": "write",
    "mcp__memory__create_entities": "write",
    "mcp__files__write_file": "irreversible",
    "mcp__git__git_reset": "irreversible",
}
"""What some tools do, by their servers' own annotations."""


def programs(begun: Begun) -> list[psutil.Process]:
    """The servers themselves, without the keepers that end them should this process be killed."""
    return [each for each in begun() if each.ppid() == os.getpid() and each.name() != "sh"]


def does(offered: list[Offered]) -> dict[str, str]:
    return {each.tool.name: each.access for each in offered}


@pytest.mark.npm
async def test_five_real_servers_start_at_once_and_each_is_used(tmp_path: Path, begun: Begun) -> None:
    (tmp_path / "a.txt").write_text("first")
    repo = await repository(tmp_path)
    every = {
        "files": from_npm("filesystem", str(tmp_path)),
        "everything": from_npm("everything"),
        "memory": from_npm("memory", env={"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")}),
        "time": from_pypi("time", "--local-timezone", "UTC"),
        "git": from_pypi("git"),
    }
    notes: list[str] = []
    async with Servers(notes.append) as servers:
        offered = [*await (tools := agent_toolbox(servers, every)).offered()]
        started = [each.create_time() for each in programs(begun)]
        assert len(started) == 5
        assert max(started) - min(started) < 0.8  # no server waits for another's start, which takes longer

        assert len(offered) > 40
        assert UNLIKE.items() <= does(offered).items()

        async def use(name: str, **arguments: object) -> str:
            returned = await tools.call(name, arguments)
            assert not returned.is_error, returned
            return returned.content

        await use("mcp__files__write_file", path=str(tmp_path / "b.txt"), content="grüße")
        assert await use("mcp__files__read_text_file", path=str(tmp_path / "a.txt")) == "first"
        assert (await tools.call("mcp__files__read_text_file", {"path": "/etc/passwd"})).is_error

        await use("mcp__git__git_add", repo_path=str(repo), files=["b.txt"])
        assert "b.txt" in await use("mcp__git__git_status", repo_path=str(repo))

        assert "T21:00:00+09:00" in await use("mcp__time__convert_time", **NOON)

        assert await use("mcp__everything__echo", message="hi") == "Echo: hi"
        assert "[image, image/png," in await use("mcp__everything__get-tiny-image")
        assert "temperature" in await use("mcp__everything__get-structured-content", location="Chicago")
        assert "API_KEY" not in await use("mcp__everything__get-env")
        assert (await tools.call("mcp__everything__get-sum", {"a": 1})).is_error

        await use("mcp__memory__create_entities", entities=[ENTITY])
        assert "votes" in await use("mcp__memory__search_nodes", query="massgen")
    assert (tmp_path / "b.txt").read_text() == "grüße"
    assert notes == []
    assert begun() == []


@pytest.mark.npm
async def test_a_real_server_that_is_killed_is_back_with_what_it_had_kept(tmp_path: Path, begun: Begun) -> None:
    server = from_npm("memory", env={"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")})
    async with Servers(pause=lambda restart: 0) as servers:
        tools = agent_toolbox(servers, {"memory": server})
        await tools.offered()
        await tools.call("mcp__memory__create_entities", {"entities": [ENTITY]})
        (process,) = programs(begun)
        process.kill()
        graph = await tools.call("mcp__memory__read_graph", {})
        if graph.is_error:  # it was asked before its end was seen
            assert "it was ended by signal 9" in graph.content
            graph = await tools.call("mcp__memory__read_graph", {})
        assert json.loads(graph.content)["entities"] == [ENTITY]


async def at_port(port: int) -> asyncio.subprocess.Process:
    """The reference server over Streamable HTTP, once it listens."""
    started = await asyncio.create_subprocess_exec(
        *(MODULES / ".bin" / "mcp-server-everything", "streamableHttp"),
        env={**os.environ, "PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert started.stderr
    while b"listening on port" not in (line := await started.stderr.readline()):
        assert line
    return started


@pytest.mark.npm
async def test_a_real_server_at_an_address_that_was_started_anew_is_used_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = await at_port(port)
    try:
        async with Servers(pause=lambda restart: 0) as servers:
            tools = agent_toolbox(servers, {"all": McpServer(url=f"http://127.0.0.1:{port}/mcp")})
            await tools.offered()
            said = [await tools.call("mcp__all__echo", {"message": "a"})]
            server.kill()
            await server.wait()
            server = await at_port(port)
            said += [await tools.call("mcp__all__echo", {"message": each}) for each in "bc"]
    finally:
        server.kill()
        await server.wait()
    assert [each.content for each in said[::2]] == ["Echo: a", "Echo: c"]
    assert "HTTP 400 Bad Request); it is started anew when it is next used" in said[1].content


@pytest.mark.npm
async def test_a_long_operation_of_a_real_server_is_given_up_and_the_next_call_is_answered() -> None:
    async with Servers() as servers:
        server = from_npm("everything", tool_timeouts={"trigger-*": 0.3})
        tools = agent_toolbox(servers, {"everything": server})
        await tools.offered()
        late = await tools.call("mcp__everything__trigger-long-running-operation", {"duration": 60, "steps": 2})
        assert late.content == "no result within 0.3 s; the call was given up"
        assert (await tools.call("mcp__everything__echo", {"message": "still here"})).content == "Echo: still here"
