"""Tools, end to end: the command, a provider and a server of tools, each a process of its own."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from massgen import sessions
from massgen.approval import question
from massgen.config.loading import load
from massgen.conversation import Conversation
from massgen.errors import Exit
from massgen.events import Presented, Said, ToolCalled, ToolReturned, Voted
from massgen.log import read
from massgen.messages import ToolCall
from tests.command import Ran, ended, massgen, started, write_config
from tests.providers import Call, Reply, Simulator, Team, call, hang, say
from tests.test_terminal import window

pytestmark = pytest.mark.timeout(40)
LOOK, NOTE, SEND = "mcp__desk__look", "mcp__desk__note", "mcp__desk__send"
ACTS = ("new_answer", "vote")
QUESTION = "What is to be done?"


@dataclass
class Desk:
    """A folder in which the server `desk` leaves its traces."""

    folder: Path

    def server(self, **settings: Any) -> dict[str, Any]:
        script = str(Path(__file__).parent / "mcp_servers" / "desk.py")
        env = {"DESK": str(self.folder), **settings.pop("env", {})}
        return {"command": sys.executable, "args": ["-I", script], "env": env, **settings}

    @property
    def journal(self) -> list[str]:
        file = self.folder / "journal"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def running(self) -> list[int]:
        """The processes of this server that are still there."""
        file = self.folder / "pids"
        pids = map(int, file.read_text().split()) if file.exists() else ()
        return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]

    def hang_in(self, *tools: str) -> None:
        (self.folder / "hangs").write_text(" ".join(tools))

    @asynccontextmanager
    async def began(self) -> AsyncGenerator[asyncio.Event]:
        """Set when a call has begun that does not return."""
        pipe = self.folder / "began"
        if not pipe.exists():
            os.mkfifo(pipe)
        fd, event = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), asyncio.Event()
        asyncio.get_running_loop().add_reader(fd, lambda: os.read(fd, 100) and event.set())
        try:
            yield event
        finally:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    async def empty(self) -> None:
        """Wait until no process is left."""
        async with asyncio.timeout(10):
            while self.running:
                await asyncio.sleep(0.05)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "desk").mkdir()
    return Desk(tmp_path / "desk")


def results(asked: Call) -> list[str]:
    return [str(each["content"]) for each in asked.messages if each["role"] == "tool"]


@dataclass
class Worker:
    """A model that uses each of `first` before it answers, votes at once, and uses each of `last` before it presents."""

    first: Sequence[str] = ()
    last: Sequence[str] = ()
    calls: list[Call] = field(default_factory=list[Call])
    answered: set[str] = field(default_factory=set[str])

    def __call__(self, asked: Call) -> Reply:
        self.calls.append(asked)
        acts = {"new_answer", "vote"} & asked.tools.keys()
        if "vote" in acts and asked.model in self.answered:
            (label, *_) = asked.tools["vote"]["properties"]["agent_id"]["enum"]
            return call("vote", agent_id=label, reason="Right.")
        due, done = self.first if acts else self.last, results(asked)
        if len(done) < len(due):
            return call(due[len(done)], text=asked.model)
        text = f"{asked.model} found: {'; '.join(done)}"
        self.answered.add(asked.model)
        return call("new_answer", content=text) if acts else say(text)

    def offered(self, *acts: str) -> list[set[str]]:
        """The tools beside the acts in each call that offered these."""
        every = {"new_answer", "vote"}
        return [each.tools.keys() - every for each in self.calls if each.tools.keys() & every == {*acts}]


def write(tmp_path: Path, simulator: Simulator, desk: Desk, agents: int = 1, **sections: Any) -> str:
    servers = {"desk": desk.server(**sections.pop("server", {}))}
    return str(write_config(tmp_path / "team.yaml", simulator.base_url, agents, mcp_servers=servers, **sections))


def facts(tmp_path: Path, *kinds: type) -> list[Any]:
    (session,) = (tmp_path / "home/data/sessions").iterdir()
    return [each.fact for each in read(session / sessions.LOG_NAME) if isinstance(each.fact, kinds)]


async def ask(config: str, *options: str, **how: Any) -> Ran:
    return await massgen("--config", config, *options, QUESTION, **how)


# A team with tools


async def test_an_agent_reads_with_a_tool_votes_and_the_winner_writes(tmp_path: Path, desk: Desk) -> None:
    team = Worker(first=[LOOK], last=[NOTE])
    async with Simulator(team) as simulator:
        ran = await ask(write(tmp_path, simulator, desk, agents=3))
    (winner,) = [each.agent for each in facts(tmp_path, Presented)]
    assert (ran.code, ran.out) == (Exit.ANSWER, f"{winner} found: note: {winner} is done\n"), ran.err
    assert sorted(desk.journal[:3]) == ["look m1", "look m2", "look m3"]
    assert desk.journal[3:] == [f"note {winner}"]
    assert len((desk.folder / "pids").read_text().split()) == 1, "one server serves the team"
    assert desk.running == []
    assert all(offered == {LOOK} for offered in team.offered("new_answer"))
    assert all(offered == {LOOK} for offered in team.offered("new_answer", "vote"))
    assert all(offered == {LOOK, NOTE, SEND} for offered in team.offered())
    assert len(facts(tmp_path, Voted)) == 3
    assert {each.content for each in facts(tmp_path, ToolReturned)} == {
        *(f"look: {agent} is done" for agent in ("m1", "m2", "m3")),
        f"note: {winner} is done",
    }


async def test_a_server_is_kept_for_the_next_question_and_ends_with_the_conversation(
    tmp_path: Path, desk: Desk
) -> None:
    async with (
        Simulator(Worker(last=[LOOK])) as simulator,
        Conversation(load(Path(write(tmp_path, simulator, desk)))) as conversation,
    ):
        answers = [(await conversation.ask(asked)).answer for asked in ("One?", "Two?")]
        assert len(desk.running) == 1
    assert answers == ["m1 found: look: m1 is done"] * 2
    assert len((desk.folder / "pids").read_text().split()) == 1
    assert desk.running == []


async def test_each_agent_has_the_tools_that_its_configuration_leaves_it(tmp_path: Path, desk: Desk) -> None:
    (tmp_path / "words.py").write_text(
        "def count(text: str) -> int:\n    'How many words.'\n    return len(text.split())\n"
        "count.access = 'read'\n"
        "def shout(text: str) -> str:\n    return text.upper()\n"
        "shout.access = 'read'\n"
    )
    team = Worker()
    async with Simulator(team) as simulator:
        backend = {"type": "chatcompletion", "base_url": simulator.base_url}
        other = desk.server(access={"*": "read"})
        agents = [
            {"id": "a", "backend": {**backend, "model": "a"}},
            {"id": "b", "backend": {**backend, "model": "b", "mcp_servers": [{"name": "more", **other}]}, "exclude_tools": ["*note", "count"]},
            {"id": "c", "backend": {**backend, "model": "c", "allowed_tools": ["mcp__*"]}, "mcp_servers": {"desk": other}, "tools": ["words:shout"], "allowed_tools": ["*look", "shout", "*send"]},
        ]  # fmt: skip
        file = tmp_path / "team.yaml"
        file.write_text(str({"agents": agents, "mcp_servers": {"desk": desk.server()}, "tools": ["words:count"]}))
        ran = await ask(str(file), "--quiet")
    assert ran.code == Exit.ANSWER
    first = {each.model: each.tools.keys() - {"new_answer"} for each in team.calls if "vote" not in each.tools and "new_answer" in each.tools}  # fmt: skip
    assert first == {
        "a": {"count", LOOK},
        "b": {LOOK, "mcp__more__look", "mcp__more__send"},
        "c": {LOOK, SEND},
    }


async def test_by_json_a_model_without_tool_calls_uses_tools(tmp_path: Path, desk: Desk) -> None:
    seen: list[str] = []

    def model(asked: Call) -> Reply:
        text = str(asked.messages[-1]["content"])
        seen.append(text)
        assert not asked.tools
        if "Result of" not in text:
            return say(f'{{"call": {{"tool": "{NOTE}", "text": "by json"}}}}')
        return say("It is noted.")

    async with Simulator(model) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 1, mcp_servers={"desk": desk.server()})
        config.write_text(config.read_text().replace("model: m1", "model: m1\n    tool_calling: json"))
        ran = await ask(str(config))
    assert (ran.code, ran.out) == (Exit.ANSWER, "It is noted.\n"), ran.err
    assert desk.journal == ["note by json"]
    assert f"Result of {NOTE}:\nnote: by json is done" in seen[1]


async def test_a_run_without_tools_imports_nothing_of_them(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from massgen.__main__ import main\n"
        "try:\n    main()\n"
        "finally:\n    print('mcp' in sys.modules, 'massgen.toolbox.client' in sys.modules, file=sys.stderr)\n"
    )
    async with Simulator(Worker()) as simulator:
        config = str(write_config(tmp_path / "team.yaml", simulator.base_url, 1))
        async with started("--config", config, "-q", QUESTION, program=("-c", program)) as process:
            ran = await ended(process, b"")
    assert (ran.code, ran.err) == (Exit.ANSWER, "False False\n")


async def test_a_server_that_cannot_be_started_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    async with Simulator(Worker()) as simulator:
        servers = {"gone": {"command": "no-such-program"}}
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 2, mcp_servers=servers)
        ran = await ask(str(config))
    assert ran.code == Exit.ANSWER
    told = (
        "massgen: the server 'gone' cannot be started: no program is called 'no-such-program'; its tools are left out"
    )
    assert ran.err.count(told) == 1


async def test_functions_that_cannot_be_loaded_are_told_before_anybody_is_asked(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def known(): ...\n")
    async with Simulator(Worker()) as simulator:
        config = write_config(tmp_path / "team.yaml", simulator.base_url, 2, tools=["mine:known", "mine:other"])
        ran = await ask(str(config))
        assert simulator.calls == []
    assert ran.code == Exit.USAGE
    assert "tools[1]: 'mine:other': the module 'mine' has no function 'other'" in ran.err


# What cannot be undone


@pytest.fixture
def post(tmp_path: Path) -> Path:
    """The file to which a function, which cannot be undone, adds a line; importing it takes no second, as mcp does."""
    sent = tmp_path / "sent"
    (tmp_path / "post.py").write_text(
        f"def send(text: str) -> str:\n    open({str(sent)!r}, 'a').write(text)\n    return 'sent'\n"
        "send.access = 'irreversible'\n"
    )
    sent.touch()
    return sent


def sending(tmp_path: Path, simulator: Simulator, **sections: Any) -> str:
    return str(write_config(tmp_path / "team.yaml", simulator.base_url, 1, tools=["post:send"], **sections))


async def test_without_a_terminal_what_cannot_be_undone_is_not_done(tmp_path: Path, post: Path) -> None:
    async with Simulator(Worker(last=["send"])) as simulator:
        ran = await ask(sending(tmp_path, simulator))
    assert "m1 found: Not done: this cannot be undone, and nobody has approved it." in ran.out
    assert "massgen: m1 did not use send: it cannot be undone, and nobody could be asked; --yes, or" in ran.err
    assert post.read_text() == ""


@pytest.mark.parametrize(
    ("rule", "options", "done"),
    [("always", [], "m1"), ("ask", ["--yes"], "m1"), ("never", ["--yes"], "m1"), ("never", [], "")],
)
async def test_the_configuration_or_the_command_line_says_whether_it_is(
    tmp_path: Path, post: Path, rule: str, options: list[str], done: str
) -> None:
    async with Simulator(Worker(last=["send"])) as simulator:
        ran = await ask(sending(tmp_path, simulator, tool_approval=rule), *options)
    assert (ran.code, post.read_text()) == (Exit.ANSWER, done), ran.err
    assert "nobody could be asked" not in ran.err


async def test_yes_is_for_one_run(tmp_path: Path, post: Path) -> None:
    async with Simulator(Worker(last=["send"])) as simulator:
        assert (await ask(sending(tmp_path, simulator), "--yes")).code == Exit.ANSWER
        again = await massgen("--continue", "And now?")
    assert again.code == Exit.ANSWER, again.err
    assert "it goes on differently" not in again.err
    assert post.read_text() == "m1"


@pytest.mark.parametrize(("typed", "done"), [("y", "m1"), ("Yes", "m1"), ("", ""), ("yeah", "")])
async def test_on_a_terminal_somebody_is_asked_while_the_view_stands_still(
    tmp_path: Path, post: Path, typed: str, done: str
) -> None:
    async with Simulator(Worker(last=["send"])) as simulator, window() as (shown, theirs):
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        config = sending(tmp_path, simulator)
        async with (
            started("--config", config, QUESTION, env={"TERM": "xterm-256color"}, **ends) as run,
            asyncio.timeout(20),
        ):
            os.close(theirs)
            await shown.until(lambda: "Only y or yes does:" in shown.text)
            assert 'm1 wants to use send, which cannot be undone, with:\n  {"text": "m1"}' in shown.text
            assert not shown.screen.cursor.hidden
            assert post.read_text() == ""
            os.write(shown.fd, f"{typed}\n".encode())
            await shown.closed.wait()
            assert await run.wait() == Exit.ANSWER
    assert post.read_text() == done
    assert f"Only y or yes does: {typed}".rstrip() in shown.text
    assert "could be asked" not in shown.text
    assert not shown.screen.cursor.hidden


async def test_in_a_conversation_somebody_is_asked_too(tmp_path: Path, post: Path) -> None:
    async with Simulator(Worker(last=["send"])) as simulator, window() as (shown, theirs):
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        config = sending(tmp_path, simulator)
        async with started("--config", config, env={"TERM": "xterm-256color"}, **ends) as run, asyncio.timeout(20):
            os.close(theirs)
            await shown.until(lambda: shown.text.endswith(">"))
            os.write(shown.fd, b"Send it.\r")
            await shown.until(lambda: "Only y or yes does:" in shown.text)
            os.write(shown.fd, b"yes\n")
            await shown.until(lambda: "m1 found: sent" in shown.text and shown.text.endswith(">"))
            os.write(shown.fd, b"\x04")
            await shown.closed.wait()
            assert await run.wait() == Exit.ANSWER
    assert post.read_text() == "m1"


async def test_ctrl_c_is_an_answer_too(tmp_path: Path, post: Path) -> None:
    async with Simulator(Worker(last=["send"])) as simulator, window() as (shown, theirs):
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        config = sending(tmp_path, simulator)
        async with started("--config", config, QUESTION, env={"TERM": "xterm"}, **ends) as run, asyncio.timeout(20):
            os.close(theirs)
            await shown.until(lambda: "Only y or yes does:" in shown.text)
            run.send_signal(signal.SIGINT)
            await shown.closed.wait()
            assert await run.wait() == Exit.INTERRUPTED
    assert post.read_text() == ""
    assert not shown.screen.cursor.hidden


def test_no_call_can_steer_the_terminal_or_hide_its_end_in_the_question() -> None:
    told = question("m1\x1b[2J", ToolCall("1", "send\nAllow", '{"text": "\x1b[1A\u202e' + "x" * 5_000 + 'END"}'))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "massgen: m1 wants to use send Allow, which" in told
    assert "[... 3,0" in told
    assert 'END"' in told
    assert len(told) < 2_500


def test_no_argument_hides_another_in_the_question() -> None:
    given = {"memo": "x" * 5_000, "amount": 1_000_000, "more": {"a": ["y" * 5_000]}, "to": "eve"}
    told = question("m1", ToolCall("1", "pay", json.dumps(given)))
    assert "\n  amount: 1000000\n" in told
    assert '\n  to: "eve"\n' in told
    assert len(told) < 2_700
    padded = question("m1", ToolCall("1", "pay", '{"memo": "",' + "\n" * 1_900 + '"to": "eve"}'))
    assert '  {"memo": "", "to": "eve"}\n' in padded
    many = question("m1", ToolCall("1", "pay", json.dumps({f"a{n}": "z" * 90 for n in range(900)})))
    assert "\n  (and 860 more arguments)\n" in many
    assert len(many) < 6_000


# Nothing is left, nothing is told


@pytest.mark.parametrize("tool", [LOOK, NOTE])
async def test_ctrl_c_in_the_middle_of_a_call_leaves_no_server(tmp_path: Path, desk: Desk, tool: str) -> None:
    desk.hang_in("look", "note")
    async with (
        Simulator(Worker(last=[tool])) as simulator,
        desk.began() as began,
        asyncio.timeout(20),
        started("--config", write(tmp_path, simulator, desk), QUESTION) as process,
    ):
        await began.wait()
        assert len(desk.running) == 1
        process.send_signal(signal.SIGINT)
        ran = await ended(process)
    assert ran.code == Exit.INTERRUPTED
    assert desk.running == []


async def test_keys_of_servers_are_in_no_record_and_no_error(tmp_path: Path, desk: Desk) -> None:
    key, other = "a-key-of-somebodys-9f8e7d", "another key, given by name 5"
    async with Simulator(Worker(last=[NOTE])) as simulator:
        server = {"env": {"DESK_KEY": key, "OTHER": "${OTHER_KEY}"}}
        config = write(tmp_path, simulator, desk, server=server)
        ran = await ask(config, "--debug", env={"OTHER_KEY": other})
        shown = await massgen("config", "show", config, env={"OTHER_KEY": other})
        again = await massgen("--continue", "And now?", env={"OTHER_KEY": other})
    assert "note: m1 is done with [redacted]" in facts(tmp_path, ToolReturned)[0].content
    logs = "".join(
        path.read_bytes().decode(errors="replace") for path in (tmp_path / "home").rglob("*") if path.is_file()
    )
    assert "is done with [redacted]" in ran.out, "models are shown what is recorded"
    for text in (logs, ran.out, ran.err, shown.out, again.err):
        assert key not in text
        assert other not in text
    assert "DESK_KEY: '[redacted]'" in shown.out
    assert "OTHER: ${OTHER_KEY}" in shown.out
    assert again.code == Exit.USAGE
    assert "mcp_servers.desk.env.DESK_KEY was written out in the configuration and is not recorded" in again.err


# kill -9


async def killed_in(desk: Desk, tool: str, config: str) -> None:
    """A run that is killed in the middle of a call of `tool`; its server ends with it, which is lost in the call."""
    desk.hang_in(tool)
    async with desk.began() as began, started("--config", config, QUESTION) as process:
        async with asyncio.timeout(20):
            await began.wait()
        process.kill()
        await ended(process)
        await desk.empty()
    (desk.folder / "hangs").unlink()


def by_name(desk: Desk) -> dict[str, Any]:
    """Settings that a session can go on with: nothing is written out."""
    return {"env": {"DESK": "${DESK}"}}


async def test_a_write_that_was_cut_off_is_told_and_not_done_again(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK", str(desk.folder))
    async with Simulator(Worker(last=[NOTE])) as simulator:
        await killed_in(desk, "note", write(tmp_path, simulator, desk, server=by_name(desk)))
        assert len(simulator.calls) == 1
        ran = await massgen("--continue")
        assert len(simulator.calls) == 2, "what was said is not asked for again"
    assert ran.code == Exit.ANSWER
    assert "m1 found: This was interrupted: it may have been done, or not. It was not done again." in ran.out
    assert desk.journal == ["note m1"]
    assert [each.is_error for each in facts(tmp_path, ToolReturned)] == [True]


async def test_a_read_that_was_cut_off_is_made_again(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK", str(desk.folder))
    async with Simulator(Worker(last=[LOOK])) as simulator:
        await killed_in(desk, "look", write(tmp_path, simulator, desk, server=by_name(desk)))
        ran = await massgen("--continue")
        assert len(simulator.calls) == 2
    assert (ran.code, ran.out) == (Exit.ANSWER, "m1 found: look: m1 is done\n"), ran.err
    assert desk.journal == ["look m1", "look m1"]


async def test_a_result_that_was_recorded_is_not_fetched_again(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK", str(desk.folder))
    worker, hanging = Worker(last=[LOOK, NOTE]), [True]

    def model(asked: Call) -> Reply:
        return hang() if hanging[0] and len(results(asked)) == 2 else worker(asked)

    async with Simulator(model) as simulator:
        config = write(tmp_path, simulator, desk, server=by_name(desk))
        async with started("--config", config, QUESTION) as process:
            await simulator.until(lambda: len(simulator.calls) == 3)
            process.kill()
            await ended(process)
        hanging[0] = False
        ran = await massgen("--continue")
        assert len(simulator.calls) == 4
    assert (ran.code, ran.out) == (Exit.ANSWER, "m1 found: look: m1 is done; note: m1 is done\n"), ran.err
    assert desk.journal == ["look m1", "note m1"]
    assert len(facts(tmp_path, ToolCalled)) == len(facts(tmp_path, ToolReturned)) == 2
    assert len(facts(tmp_path, Said)) == 3
    assert len(facts(tmp_path, Presented)) == 1


async def test_a_server_with_a_workspace_is_each_agents_own_and_may_write_before_the_vote(
    tmp_path: Path, desk: Desk
) -> None:
    team = Team(final="Done.")

    def policy(asked: Call) -> Reply:
        if "vote" not in asked.tools and NOTE in asked.tools and not results(asked):
            return call(NOTE, text=asked.model)
        return team(replace(asked, tools={name: each for name, each in asked.tools.items() if name in ACTS}))

    async with Simulator(policy) as simulator:
        server = {"workspace": True, "env": {"DESK": "."}}
        ran = await ask(write(tmp_path, simulator, desk, agents=2, server=server))
    assert ran.code == Exit.ANSWER
    (session,) = (tmp_path / "home/data/sessions").iterdir()
    for agent in ("m1", "m2"):
        assert f"note {agent}" in (session / "workspaces" / agent / "journal").read_text().splitlines()
    began = [each.fact for each in read(session / sessions.LOG_NAME) if isinstance(each.fact, ToolCalled | Voted)]
    assert [type(each) for each in began[:2]] == [ToolCalled, ToolCalled], "before the vote"


async def test_without_a_question_no_workspace_is_left(tmp_path: Path, desk: Desk) -> None:
    async with Simulator(lambda asked: say("?")) as simulator:
        config = write(tmp_path, simulator, desk, server={"workspace": True})
        async with Conversation(load(Path(config))):
            assert [*(tmp_path / "home/data/sessions").iterdir()]
    assert not [*(tmp_path / "home/data/sessions").iterdir()]


async def test_a_team_that_cannot_be_built_leaves_no_workspace_either(tmp_path: Path, desk: Desk) -> None:
    servers = {"desk": desk.server(workspace=True)}
    file = tmp_path / "team.yaml"
    file.write_text(yaml.safe_dump({"agents": [{"backend": {"type": "openai", "model": "m"}}], "mcp_servers": servers}))
    ran = await massgen("--config", str(file), QUESTION)
    assert ran.code == Exit.USAGE
    assert not [*(tmp_path / "home/data").rglob("workspaces")]
