"""MCP servers over real pipes: what they offer and return, how they fail, and that none is left behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from massgen.config.tools import McpServer
from massgen.toolbox import Toolbox
from massgen.toolbox.agent import agent_toolbox
from massgen.toolbox.server import pause
from massgen.toolbox.servers import Servers
from tests.conftest import Begun
from tests.mcp_servers import raw


@asynccontextmanager
async def box(server: McpServer, notes: list[str] | None = None) -> AsyncGenerator[Toolbox]:
    """The toolbox of an agent with one server, called `raw`, which is restarted without a pause."""
    async with Servers((notes if notes is not None else []).append, pause=lambda restart: 0) as servers:
        yield agent_toolbox(servers, {"raw": server})


async def names(toolbox: Toolbox) -> list[str]:
    return [each.tool.name.removeprefix("mcp__raw__") for each in await toolbox.offered()]


async def does(toolbox: Toolbox) -> dict[str, str]:
    return {each.tool.name.removeprefix("mcp__raw__"): each.access for each in await toolbox.offered()}


async def test_a_call_returns_text_and_a_servers_own_error_is_told_as_it_is() -> None:
    async with box(raw()) as tools:
        assert len(await tools.offered()) == 20
        said = await tools.call("mcp__raw__echo", {"text": "grüß dich"})
        assert (said.content, said.is_error) == ("grüß dich", False)
        refused = await tools.call("mcp__raw__refuses", {})
        assert (refused.content, refused.is_error) == ("no such city", True)


async def test_a_result_of_parts_becomes_text_and_what_is_no_text_is_named() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        assert (await tools.call("mcp__raw__parts", {})).content.splitlines() == [
            "one",
            "[image, image/png, 3 bytes; it cannot be shown as text]",
            "[a resource: two, file:///two]",
            "three",
            "[a resource: file:///b, 3 bytes]",
        ]
        assert (await tools.call("mcp__raw__nothing", {})).content == '{"n": 1}'


async def test_tools_that_a_server_announces_are_offered_from_the_next_turn_on_as_the_configuration_has_it() -> None:
    notes: list[str] = []
    server = raw("learns", access={"learn": "read"})
    async with Servers(notes.append) as servers:
        first = agent_toolbox(servers, {"raw": server})
        second = agent_toolbox(servers, {"raw": server}, excluded=["*look"], access={"*burn": "write"})
        assert await does(first) == {"learn": "read", "look": "irreversible"}
        assert await does(second) == {"learn": "read"}
        await first.call("mcp__raw__learn", {})
        offered = await asyncio.gather(does(first), does(second))
        assert offered[0] == {"learn": "read", "burn": "irreversible", "look": "irreversible"}
        assert offered[1] == {"learn": "read", "burn": "write"}
        assert (await first.call("mcp__raw__burn", {})).content == "done"
        await first.call("mcp__raw__learn", {})
        gone = await first.call("mcp__raw__look", {})
        assert (gone.content, gone.is_error) == ("the server 'raw' has no tool 'look' any longer", True)
        assert [*await does(first)] == ["learn", "burn"]
        assert (await first.call("mcp__raw__look", {})).content == "no tool is called 'mcp__raw__look'"
        assert notes == []


async def test_a_server_that_does_not_tell_the_tools_it_announced_keeps_those_before() -> None:
    notes: list[str] = []
    async with box(raw("learns"), notes) as tools:
        assert await names(tools) == ["learn", "look"]
        for _ in range(3):
            await tools.call("mcp__raw__learn", {})
        assert await names(tools) == ["learn", "burn"]
        await tools.call("mcp__raw__learn", {})
        assert await names(tools) == ["learn", "look"]
        assert (await tools.call("mcp__raw__look", {})).content == "done"
    told = "the server 'raw': it announced other tools, and does not tell them: tools: Input should be a valid list"
    assert notes == [told]


async def test_no_server_starts_before_it_is_used_and_none_outlives_the_team(begun: Begun) -> None:
    async with box(raw()) as tools:
        assert begun() == []
        await tools.offered()
        pid = int((await tools.call("mcp__raw__pid", {})).content)
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)
    assert begun() == []


async def test_agents_with_equal_settings_share_a_server_and_others_do_not() -> None:
    async with Servers() as servers:
        every = [
            agent_toolbox(servers, {"raw": raw(allowed_tools=["pid"])}),
            agent_toolbox(servers, {"raw": raw()}),
            agent_toolbox(servers, {"raw": raw("noisy")}),
        ]
        await asyncio.gather(*(each.offered() for each in every))
        pids = [(await each.call("mcp__raw__pid", {})).content for each in every]
        assert pids[0] == pids[1] != pids[2]


async def test_a_server_that_ends_at_its_start_is_left_out_and_says_its_last_words() -> None:
    notes: list[str] = []
    async with box(raw("ends"), notes) as tools:
        assert await tools.offered() == []
        assert await tools.offered() == []
    assert notes == [
        "the server 'raw' cannot be started: it ended, exit code 1; its last words: no licence found; "
        "its tools are left out"
    ]


@pytest.mark.parametrize(("heir", "words"), [("0.3", " | ask for one"), ("600", "")])
async def test_the_last_words_are_waited_for_to_their_end_but_not_for_long(heir: str, words: str) -> None:
    notes: list[str] = []
    async with box(raw("ends", f"heir={heir}"), notes) as tools, asyncio.timeout(8):
        assert await tools.offered() == []
    told = f"the server 'raw' cannot be started: it ended, exit code 1; its last words: no licence found{words}; "
    assert notes == [f"{told}its tools are left out"]


async def test_a_server_that_ends_at_a_word_of_the_newest_protocol_is_spoken_to_in_an_older_one() -> None:
    notes: list[str] = []
    async with box(raw("older"), notes) as tools:
        assert "echo" in await names(tools)
        first = (await tools.call("mcp__raw__pid", {})).content
        assert (await tools.call("mcp__raw__dies", {})).is_error
        assert (await tools.call("mcp__raw__pid", {})).content not in ("", first)
    assert notes == []


async def test_what_is_wrong_with_a_command_is_told() -> None:
    notes: list[str] = []
    odd = {"a": McpServer(command="npx -y some-server"), "b": McpServer(command=sys.executable, cwd="/no/such/folder")}
    async with Servers(notes.append) as servers:
        assert await agent_toolbox(servers, odd).offered() == []
    told = [note.removesuffix("; its tools are left out").partition("started: ")[2] for note in notes]
    assert told == [
        "no program is called 'npx -y some-server'; arguments belong in `args`, one each",
        "its `cwd`, '/no/such/folder', is no folder",
    ]


async def test_a_program_that_is_not_there_is_named() -> None:
    notes: list[str] = []
    async with box(McpServer(command="npx -y some-server"), notes) as tools:
        assert await tools.offered() == []
    assert "no program is called 'npx -y some-server'" in notes[0]


async def test_a_server_that_never_greets_is_given_up_in_time() -> None:
    notes: list[str] = []
    async with box(raw("mute", start_timeout=0.5), notes) as tools:
        assert await tools.offered() == []
    assert "it did not start within 0.5 s" in notes[0]


async def test_a_server_that_dies_in_a_call_costs_one_error_and_is_started_anew() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        first = (await tools.call("mcp__raw__pid", {})).content
        told = await tools.call("mcp__raw__dies", {})
        assert told.is_error
        assert told.content == (
            "the server 'raw' was lost during the call, which may have been carried out: it ended, exit code 7; its last "
            "words: segmentation, of a kind; it is started anew when it is next used"
        )
        again = await tools.call("mcp__raw__pid", {})
        assert not again.is_error
        assert again.content != first


async def test_a_death_wakes_every_call_that_the_server_had() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        waiting = [asyncio.create_task(tools.call("mcp__raw__slow", {})) for _ in range(3)]
        await asyncio.sleep(0)
        assert (await tools.call("mcp__raw__dies", {})).is_error
        assert ["exit code 7" in (await each).content for each in waiting] == [True] * 3


async def test_a_server_that_keeps_dying_is_given_up_after_five_restarts() -> None:
    pauses: list[int] = []
    async with Servers(pause=lambda restart: pauses.append(restart) or 0) as servers:
        tools = agent_toolbox(servers, {"raw": raw()})
        await tools.offered()
        told = [(await tools.call("mcp__raw__dies", {})).content for _ in range(7)]
    assert pauses == [1, 2, 3, 4, 5]
    assert told[5].endswith("it is not started again")
    assert told[6] == (
        "the server 'raw' failed 6 times and is not started again; the last time: it ended, exit code 7; its last words: "
        "segmentation, of a kind"
    )


async def test_a_server_that_ran_for_long_has_its_restarts_forgiven() -> None:
    now, pauses = [0.0], list[int]()
    async with Servers(pause=lambda restart: pauses.append(restart) or 0, clock=lambda: now[0]) as servers:
        tools = agent_toolbox(servers, {"raw": raw()})
        for _ in range(8):
            now[0] += 601
            assert not (await tools.call("mcp__raw__pid", {})).is_error if await tools.offered() else False
            now[0] += 601
            assert (await tools.call("mcp__raw__dies", {})).content.endswith("when it is next used")
    assert pauses == []


async def test_a_call_that_is_only_slow_is_given_up_and_its_server_stays() -> None:
    async with box(raw(tool_timeouts={"sl*": 0.2})) as tools:
        await tools.offered()
        pid = (await tools.call("mcp__raw__pid", {})).content
        slow = await tools.call("mcp__raw__slow", {})
        assert (slow.content, slow.is_error) == ("no result within 0.2 s; the call was given up", True)
        assert (await tools.call("mcp__raw__pid", {})).content == pid


async def test_a_server_that_hangs_is_ended_and_started_anew() -> None:
    async with box(raw(tool_timeouts={"hangs": 0.2})) as tools:
        await tools.offered()
        pid = int((await tools.call("mcp__raw__pid", {})).content)
        hung = await tools.call("mcp__raw__hangs", {})
        assert "it did not answer within 0.2 s, nor anything else within 1 s" in hung.content
        assert int((await tools.call("mcp__raw__pid", {})).content) != pid
        assert not psutil.pid_exists(pid)


async def test_a_server_that_closes_its_output_is_lost_though_it_runs() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        assert "it closed its output" in (await tools.call("mcp__raw__closes", {})).content
        assert (await tools.call("mcp__raw__count", {})).content == "1"


async def test_half_a_character_in_an_argument_costs_no_server() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        before = (await tools.call("mcp__raw__pid", {})).content
        given = {"text": "a\ud83d", "more": [{"\udc00": float("inf")}]}
        assert (await tools.call("mcp__raw__echo", given)).content == "a?"
        assert (await tools.call("mcp__raw__pid", {})).content == before


async def test_cancelling_a_call_leaves_the_server_to_the_others() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        pid = (await tools.call("mcp__raw__pid", {})).content
        slow = asyncio.create_task(tools.call("mcp__raw__slow", {}))
        await tools.call("mcp__raw__echo", {})  # goes after it
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert (await tools.call("mcp__raw__pid", {})).content == pid


async def test_giving_up_waiting_for_a_start_leaves_the_start_to_the_others() -> None:
    async with Servers() as servers:
        first, second = (agent_toolbox(servers, {"raw": raw()}) for _ in range(2))
        impatient, patient = asyncio.create_task(first.offered()), asyncio.create_task(second.offered())
        while "start-raw" not in {each.get_name() for each in asyncio.all_tasks()}:
            await asyncio.sleep(0)
        impatient.cancel()
        assert len(await patient) == 20


@pytest.mark.parametrize("ways", [(), ("id-last",)])
async def test_a_flood_of_100_mb_is_refused_without_being_kept_and_the_server_stays(ways: tuple[str, ...]) -> None:
    async with box(raw(*ways)) as tools:
        await tools.offered()
        pid = (await tools.call("mcp__raw__pid", {})).content
        before = psutil.Process().memory_info().rss
        flood = await tools.call("mcp__raw__floods", {})
        assert flood.is_error
        assert flood.content == "the server's reply was refused: it was larger than 16 MB"
        assert psutil.Process().memory_info().rss - before < 40_000_000
        assert (await tools.call("mcp__raw__pid", {})).content == pid


async def test_an_overlong_notice_is_passed_over_and_an_overlong_line_that_says_nothing_ends_its_server() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        assert (await tools.call("mcp__raw__shouts", {})).content == "quiet"
        raving = await tools.call("mcp__raw__raves", {})
        assert "it wrote a line of more than 16 MB that answers no call" in raving.content


async def test_a_flood_without_end_ends_its_server() -> None:
    async with box(raw()) as tools:
        await tools.offered()
        flood = await tools.call("mcp__raw__floods-forever", {})
        assert "it wrote a line of more than 256 MB" in flood.content
        assert not (await tools.call("mcp__raw__echo", {})).is_error


@pytest.mark.parametrize(
    ("tool", "why"),
    [
        ("no-object", "it broke the protocol: no JSON-RPC result"),
        ("no-content", "it broke the protocol: "),
        ("structured", "Invalid structured content returned by tool structured"),
    ],
)
async def test_a_reply_against_its_schema_is_a_clear_error_and_the_server_stays(tool: str, why: str) -> None:
    async with box(raw()) as tools:
        await tools.offered()
        broken = await tools.call(f"mcp__raw__{tool}", {})
        assert broken.is_error
        assert broken.content.startswith(f"the server's reply was refused: {why}")
        assert (await tools.call("mcp__raw__count", {})).content == "2"


async def test_words_on_stdout_that_are_no_messages_are_passed_over() -> None:
    async with box(raw("noisy")) as tools:
        await tools.offered()
        assert await tools.call("mcp__raw__no-json", {}) == await tools.call("mcp__raw__no-json", {})
        assert "warming up" in (told := (await tools.call("mcp__raw__dies", {})).content)
        assert "I am not JSON" in told


async def test_a_tool_that_cannot_be_offered_costs_no_other_its_place() -> None:
    notes: list[str] = []
    async with box(raw("odd-tools"), notes) as tools:
        offered = await tools.offered()
        given = [each.tool.name for each in offered]
        assert given[0] == "mcp__raw__good"
        assert [name[:20] for name in given[1:3]] == ["mcp__raw__na_ve__mla", "mcp__raw__xxxxxxxxxx"]
        assert given[3:] == ["mcp__raw__typeless"]
        assert len({*given}) == 4
        assert all(len(name) <= 64 and name.isascii() for name in given)
        assert offered[3].tool.parameters == {"type": "object", "properties": {"a": {"type": "string"}}}
    assert [note.removeprefix("the server 'raw': ") for note in notes] == [
        "the tool 'good' is left out: a second one has that name",
        "the tool 'no-schema' is left out: its inputSchema is no object",
        "the tool 'a-word' is left out: its inputSchema is no object",
        "the tool 'a-list' is left out: its inputSchema is of another type than object",
        "the tool 'no-type' is left out: its inputSchema is broken: no type is called 'strnig'",
        "the tool 'no-names' is left out: its inputSchema is broken: `required` holds more than names",
        "a tool without a name is left out",
    ]


async def test_a_thousand_tools_come_in_pages_and_are_called_by_their_names() -> None:
    async with box(raw("many-tools")) as tools:
        assert await names(tools) == [f"tool{number:04}" for number in range(1_000)]


async def test_pages_without_end_are_bounded() -> None:
    notes: list[str] = []
    async with box(raw("endless-pages"), notes) as tools:
        assert len(await tools.offered()) == 100
    assert notes == ["the server 'raw': it has more than 2000 tools, or 100 pages of them; the rest is left out"]


async def test_a_server_without_tools_or_with_a_broken_list_of_them_offers_none() -> None:
    notes: list[str] = []
    async with box(raw("no-tools"), notes) as tools:
        assert await tools.offered() == []
    assert notes == []
    async with box(raw("broken-listing"), notes) as tools:
        assert await tools.offered() == []
    assert notes[0].startswith("the server 'raw' cannot be started: tools: Input should be a valid list")


async def test_a_server_gets_its_own_variables_and_none_of_the_users_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("HOME", "/home/of/user")
    server = raw(env={"GIVEN": "yes"}, cwd=str(tmp_path))
    assert "yes" not in repr(server)
    async with box(server) as tools:
        await tools.offered()
        env = json.loads((await tools.call("mcp__raw__env", {})).content)
        assert (env["GIVEN"], env["HOME"]) == ("yes", "/home/of/user")
        assert "OPENAI_API_KEY" not in env
        assert (await tools.call("mcp__raw__where", {})).content == str(tmp_path)


async def test_nothing_of_a_server_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    async with box(raw("noisy")) as tools:
        await tools.offered()
        for tool in ("no-json", "no-content", "structured", "dies"):
            await tools.call(f"mcp__raw__{tool}", {})
    assert capfd.readouterr() == ("", "")


async def test_a_server_that_never_ends_is_killed_with_all_it_started() -> None:
    async with box(raw("stubborn", "leaves-child")) as tools:
        await tools.offered()
        pid = int((await tools.call("mcp__raw__pid", {})).content)
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        assert len(family) == 2
        began = time.monotonic()
    assert time.monotonic() - began < 6
    assert psutil.wait_procs(family, timeout=2)[1] == []


async def test_a_server_that_ends_in_time_leaves_no_child_either() -> None:
    async with box(raw("leaves-child")) as tools:
        await tools.offered()
        pid = int((await tools.call("mcp__raw__pid", {})).content)
        family = psutil.Process(pid).children()
    assert psutil.wait_procs(family, timeout=2)[1] == []


async def test_closing_during_a_start_ends_what_was_started(begun: Begun) -> None:
    async with box(raw("mute", "stubborn")) as tools:
        asking = asyncio.create_task(tools.offered())
        while len(begun()) < 2:  # the keeper and the server
            await asyncio.sleep(0.01)
    assert await asking == []
    assert begun() == []


async def test_after_the_run_a_tool_says_that_it_is_over() -> None:
    async with box(raw()) as tools:
        await tools.offered()
    told = await tools.call("mcp__raw__echo", {})
    assert told.content == "the server 'raw' has been closed, for the run is over"


def test_pauses_between_restarts_double() -> None:
    assert [pause(restart) for restart in range(1, 6)] == [0.5, 1, 2, 4, 8]


def test_mcp_is_not_loaded_before_a_server_is_used() -> None:
    program = (
        "import sys, massgen.toolbox.agent, massgen.toolbox.functions, massgen.config; "
        "sys.exit(' '.join({'mcp', 'mcp_types', 'anyio', 'httpx2'} & {*sys.modules}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_team_that_is_interrupted_while_it_closes_leaves_nothing_behind() -> None:
    running, ready = list[psutil.Process](), asyncio.Event()

    async def team() -> None:
        async with box(raw("stubborn")) as tools:
            await tools.offered()
            running.append(psutil.Process(int((await tools.call("mcp__raw__pid", {})).content)))
            ready.set()

    closing = asyncio.create_task(team())
    await ready.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    async with asyncio.timeout(2):
        while running[0].is_running() and running[0].status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


HOLDER = """
import asyncio, sys
from massgen.toolbox.agent import agent_toolbox
from massgen.toolbox.servers import Servers
from tests.mcp_servers import raw

async def main():
    async with Servers(print) as servers:
        tools = agent_toolbox(servers, {"raw": raw("leaves-child", *sys.argv[1:])})
        await tools.offered()
        print((await tools.call("mcp__raw__pid", {})).content, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(("how", "ways"), [(signal.SIGKILL, ["stubborn"]), (signal.SIGINT, [])])
async def test_nothing_is_left_however_massgen_ends(how: signal.Signals, ways: list[str]) -> None:
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, *ways),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert holder.stdout
    assert int(await holder.stdout.readline())
    family = psutil.Process(holder.pid).children(recursive=True)
    assert len(family) == 3  # a server, its child, the keeper
    holder.send_signal(how)
    await holder.wait()
    assert (await asyncio.to_thread(psutil.wait_procs, family, timeout=6))[1] == []
