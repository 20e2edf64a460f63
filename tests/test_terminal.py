"""The command on a terminal: what a person sees, on a real pty."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyte
import pytest

from massgen.errors import Exit
from tests.command import COLD, SECONDS, started, write_config
from tests.providers import Simulator, Team
from tests.providers.policy import paced

pytestmark = pytest.mark.timeout(30)


@dataclass
class Window:
    """A terminal of 80 columns and 24 rows, and what stands in it."""

    fd: int
    screen: pyte.Screen = field(default_factory=lambda: pyte.Screen(80, 24))
    raw: bytes = b""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    fed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.stream = pyte.ByteStream(self.screen)

    def read(self) -> None:
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the last writer has gone
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.fd)
            self.closed.set()
        self.raw += data
        self.stream.feed(data)
        self.fed.set()

    async def until(self, seen: Callable[[], bool]) -> None:
        while not seen():
            self.fed.clear()
            await self.fed.wait()

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()


@asynccontextmanager
async def window() -> AsyncGenerator[tuple[Window, int]]:
    """A window and the end of it that a program writes to."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = Window(ours)
    asyncio.get_running_loop().add_reader(ours, shown.read)
    try:
        yield shown, theirs
    finally:
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


async def seen(tmp_path: Path, team: Team, **env: str) -> tuple[Window, int]:
    """The window in which a team of three has answered, and the exit code."""
    async with Simulator(paced(team, latency=0.2, chunks=4)) as simulator, window() as (shown, theirs):
        config = write_config(tmp_path / "team.yaml", simulator.base_url)
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        async with started(
            "--config", str(config), "What is it?", env={"TERM": "xterm-256color", **env}, **ends
        ) as run:
            os.close(theirs)
            async with asyncio.timeout(SECONDS):
                await shown.closed.wait()
                return shown, await run.wait()


async def test_a_person_sees_the_team_at_work_and_then_the_answer(tmp_path: Path) -> None:
    shown, code = await seen(tmp_path, Team(final="It is Paris."))
    assert code == Exit.ANSWER
    assert shown.text.endswith("It is Paris.")
    assert all(agent in shown.text for agent in ("m1", "m2", "m3"))
    assert "7 model calls" in shown.text
    assert not shown.screen.cursor.hidden
    assert b"\x1b[" in shown.raw


async def test_ctrl_z_gives_the_cursor_back_until_the_run_goes_on(tmp_path: Path) -> None:
    async with (
        Simulator(paced(Team(final="It is Paris."), latency=0.2, chunks=4)) as simulator,
        window() as (shown, theirs),
    ):
        config = write_config(tmp_path / "team.yaml", simulator.base_url)
        ends: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        async with (
            started("--config", str(config), "What?", env={"TERM": "xterm"}, program=COLD, **ends) as run,
            asyncio.timeout(SECONDS),
        ):
            os.close(theirs)
            await shown.until(lambda: shown.screen.cursor.hidden)
            run.send_signal(signal.SIGTSTP)
            await shown.until(lambda: not shown.screen.cursor.hidden)
            await asyncio.to_thread(os.waitid, os.P_PID, run.pid, os.WSTOPPED | os.WNOWAIT)
            run.send_signal(signal.SIGCONT)
            await shown.until(lambda: shown.screen.cursor.hidden)
            await shown.closed.wait()
            assert await run.wait() == Exit.ANSWER
    assert shown.text.endswith("It is Paris.")
    assert not shown.screen.cursor.hidden


async def test_a_dumb_terminal_gets_lines(tmp_path: Path) -> None:
    shown, code = await seen(tmp_path, Team(final="It is Paris."), TERM="dumb")
    assert code == Exit.ANSWER
    assert b"\x1b" not in shown.raw
    assert "m1 answered" in shown.text


HOSTILE = "It is \x1b]0;owned\x07\x1b[2J\x1b[?1049h\u202eParis.\u2066\x9b31m"


async def test_an_answer_cannot_steer_a_dumb_terminal(tmp_path: Path) -> None:
    shown, _ = await seen(tmp_path, Team(final=HOSTILE), TERM="dumb")
    assert "Paris." in shown.text
    assert b"\x1b" not in shown.raw
    assert b"\x07" not in shown.raw


async def test_an_answer_cannot_steer_a_terminal_that_shows_the_team_at_work(tmp_path: Path) -> None:
    shown, _ = await seen(tmp_path, Team(final=HOSTILE))
    assert shown.text.startswith("massgen What is it?")
    assert shown.text.endswith("Paris.")
    assert shown.screen.title == ""
    assert not shown.screen.cursor.hidden
    assert not any(control in shown.raw for control in (b"\x07", b"\x1b]", b"\x1b[2J", b"1049", b"\xc2\x9b"))
    assert not any(mark in shown.raw.decode() for mark in "\u202e\u2066")


async def test_colours_are_left_out_where_they_are_not_wanted(tmp_path: Path) -> None:
    shown, code = await seen(tmp_path, Team(final="It is Paris."), NO_COLOR="1", COLORTERM="truecolor")
    assert code == Exit.ANSWER
    assert b"\x1b[1m" in shown.raw
    assert not re.search(rb"\x1b\[[\d;]*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]", shown.raw)


async def test_a_terminal_without_utf8_gets_ascii(tmp_path: Path) -> None:
    shown, code = await seen(tmp_path, Team(final="It is Paris."), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert code == Exit.ANSWER
    assert shown.raw.isascii()
    assert shown.text.endswith("It is Paris.")


STUCK = """
import signal, sys, termios
from massgen.interrupts import run

async def stuck():
    settings = termios.tcgetattr(sys.stdin)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, settings)
    print("up", flush=True)
    for _ in range(2):
        signal.raise_signal(signal.SIGINT)
    sys.stderr.write("x" * 1_000_000)

run(stuck())
"""


async def test_a_terminal_that_takes_no_more_output_holds_up_no_end_and_is_left_as_it_was() -> None:
    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    try:
        async with (
            started("-c", STUCK, program=(), stdin=theirs, stderr=theirs) as run,
            asyncio.timeout(SECONDS),
        ):
            assert run.stdout
            assert await run.stdout.readline() == b"up\n"
            assert termios.tcgetattr(theirs) != before
            assert await run.wait() == Exit.INTERRUPTED
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)
