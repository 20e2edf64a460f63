"""Whether an agent may do what cannot be undone: the configuration says so, or somebody at the terminal does."""

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from massgen import prompts
from massgen.agents.tools import Approve, nobody
from massgen.messages import ToolCall
from massgen.streams import line, safe

MAX_ARGUMENTS = 2_000
"""Characters of a call's arguments that are shown to whom is asked."""


async def anything(agent: str, call: ToolCall) -> str:
    """For runs in which all is allowed."""
    return ""


def unasked(noted: Callable[[str], None]) -> Approve:
    """For runs without anybody to ask: what was not done for that is `noted`."""

    async def approve(agent: str, call: ToolCall) -> str:
        noted(
            f"{agent} did not use {line(call.name, 80)}: it cannot be undone, and nobody could be asked; --yes, or "
            "`tool_approval: always`, allows it"
        )
        return await nobody(agent, call)

    return approve


def by_rule(rule: Literal["ask", "always", "never"], ask: Approve) -> Approve:
    """What the configuration's `tool_approval` means; `ask` is who is asked."""
    match rule:
        case "ask":
            return ask
        case "always":
            return anything
        case "never":
            return nobody


def question(agent: str, call: ToolCall) -> str:
    """What is asked before `agent` may make `call`. Nothing in it can steer the terminal, nor hide the end of the arguments."""
    given = safe(call.arguments)
    more = len(given) - MAX_ARGUMENTS
    shown = f"{given[:MAX_ARGUMENTS]}\n  (and {more:,} more characters)" if more > 0 else given
    indented = "\n".join(f"  {each}" for each in shown.split("\n"))
    return (
        f"massgen: {line(agent, 40)} wants to use {line(call.name, 80)}, which cannot be undone, with:\n{indented}\n"
        "Allow it? Only y or yes does: "
    )


@dataclass(frozen=True, slots=True)
class Terminal:
    """Asks whoever sits at the terminal that `stdin` is; the question is shown on `stderr`, while the view is `paused`."""

    paused: Callable[[], AbstractContextManager[object]]

    async def __call__(self, agent: str, call: ToolCall) -> str:
        with self.paused(), _typing(sys.stdin.fileno()):
            sys.stderr.write(question(agent, call))
            sys.stderr.flush()
            answer = await _line(sys.stdin.fileno())
        return "" if answer.strip().lower() in ("y", "yes") else prompts.NOT_APPROVED


async def _line(fd: int) -> str:
    """The next line that is typed; what cancels it leaves nobody reading."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)
    try:
        return os.read(fd, 1_000).decode(errors="replace")
    except OSError:  # the terminal has gone
        return ""


@contextmanager
def _typing(fd: int) -> Generator[None]:
    """The terminal shows what is typed, a line at a time; what was typed before the question is no answer to it."""
    if sys.platform == "win32":
        yield
        return
    import termios

    before = termios.tcgetattr(fd)
    shown = [*before[:3], before[3] | termios.ECHO | termios.ICANON, *before[4:]]
    termios.tcflush(fd, termios.TCIFLUSH)
    termios.tcsetattr(fd, termios.TCSANOW, shown)  # at once: one that was stopped (Ctrl-S) is not waited for
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, before)
