"""The question on the terminal before something is done that cannot be undone, on a terminal of its own."""

import asyncio
import io
import os
import pty
import termios
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from massgen import prompts
from massgen.agents.tools import nobody
from massgen.approval import Terminal, anything, by_rule
from massgen.messages import ToolCall

CALL = ToolCall("c", "mcp__mail__send", '{"to": "all"}')


class Shown(io.StringIO):
    """What is written to stderr; `asked` is set once the question stands there."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    def write(self, text: str) -> int:
        if "Only y or yes does" in text:
            self.asked.set()
        return super().write(text)


@dataclass
class Desk:
    """Whoever sits at the terminal, and the view of the run."""

    ours: int
    theirs: int
    shown: Shown = field(default_factory=Shown)
    paused: list[str] = field(default_factory=list[str])

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.theirs)[3] & termios.ECHO)

    def silence(self) -> None:
        mode: list[Any] = termios.tcgetattr(self.theirs)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(self.theirs, termios.TCSANOW, mode)

    @contextmanager
    def pause(self) -> Generator[None]:
        self.paused.append("stands still")
        yield
        self.paused.append("goes on")

    def ask(self) -> "asyncio.Task[str]":
        asking = Terminal(self.pause)("m1", CALL)
        return asyncio.create_task(_awaited(asking))


async def _awaited(asking: Any) -> str:
    return await asking


@contextmanager
def sitting() -> Generator[Desk]:
    """Not a fixture: after those, pytest puts its own streams in place."""
    ours, theirs = pty.openpty()
    desk = Desk(ours, theirs)
    with open(theirs, closefd=False) as stdin, pytest.MonkeyPatch.context() as patch, redirect_stderr(desk.shown):
        patch.setattr("sys.stdin", stdin)
        yield desk
    for fd in (ours, theirs):
        with suppress(OSError):
            os.close(fd)


async def test_what_was_typed_before_the_question_is_no_answer() -> None:
    with sitting() as desk:
        desk.silence()
        desk.type("y\n")
        task = desk.ask()
        await desk.shown.asked.wait()
        assert desk.echoes
        assert not task.done()
        desk.type("no\n")
        assert await task == prompts.NOT_APPROVED
        assert desk.paused == ["stands still", "goes on"]
        assert not desk.echoes, "the terminal is as it was"
        assert (
            'm1 wants to use mcp__mail__send, which cannot be undone, with:\n  {"to": "all"}' in desk.shown.getvalue()
        )


@pytest.mark.parametrize(
    ("typed", "why"), [("YES \n", ""), ("y\n", ""), ("yy\n", prompts.NOT_APPROVED), ("\x04", prompts.NOT_APPROVED)]
)
async def test_only_y_or_yes_allows_it(typed: str, why: str) -> None:
    with sitting() as desk:
        task = desk.ask()
        await desk.shown.asked.wait()
        desk.type(typed)
        assert await task == why


class Watchless(asyncio.SelectorEventLoop):
    """As Windows' loop, which watches no files."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("typed", "why"), [("y\n", ""), ("no\n", prompts.NOT_APPROVED)])
def test_a_loop_that_watches_no_terminal_waits_in_a_thread(typed: str, why: str) -> None:
    async def asked(desk: Desk) -> str:
        task = desk.ask()
        await desk.shown.asked.wait()
        desk.type(typed)
        return await task

    with sitting() as desk, asyncio.Runner(loop_factory=Watchless) as runner:
        assert runner.run(asked(desk)) == why


async def test_a_terminal_that_goes_away_says_no() -> None:
    with sitting() as desk:
        task = desk.ask()
        await desk.shown.asked.wait()
        os.close(desk.ours)
        assert await task == prompts.NOT_APPROVED


async def test_a_question_that_is_cancelled_leaves_nobody_reading() -> None:
    with sitting() as desk:
        task = desk.ask()
        await desk.shown.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not asyncio.get_running_loop().remove_reader(desk.theirs)
        desk.type("for somebody else\n")
        assert os.read(desk.theirs, 100) == b"for somebody else\n"


def test_the_rule_says_who_decides() -> None:
    ask = Terminal(nullcontext)
    assert [by_rule(rule, ask) for rule in ("ask", "always", "never")] == [ask, anything, nobody]
