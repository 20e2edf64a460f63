"""Whether an agent may do what cannot be undone: the configuration says so, or somebody at the terminal does."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from massgen import prompts
from massgen.agents.tools import Approve, nobody
from massgen.messages import ToolCall
from massgen.streams import line, safe

MAX_ARGUMENTS = 2_000
"""Characters of a call's arguments that are shown to whom is asked; the log has all."""
MAX_SHOWN = 40
"""Arguments that are, if not all can be."""


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
    """What is asked before `agent` may make `call`. Nothing in it can steer the terminal, and no argument hides another."""
    shown = "\n".join(f"  {each}" for each in _arguments(call.arguments))
    return (
        f"massgen: {line(agent, 40)} wants to use {line(call.name, 80)}, which cannot be undone, with:\n{shown}\n"
        "Allow it? Only y or yes does: "
    )


def _arguments(given: str) -> list[str]:
    """The arguments in lines: in one if they are short, else each in its own, of which both ends are shown."""
    try:
        read: Any = json.loads(given or "{}")
    except (ValueError, RecursionError):
        return [_ends(line(given, 2**24), MAX_ARGUMENTS)]
    if not isinstance(read, dict) or len(_written(cast("Any", read))) <= MAX_ARGUMENTS:
        return [_ends(_written(cast("Any", read)), MAX_ARGUMENTS)]
    every = cast("dict[str, Any]", read)
    limit = MAX_ARGUMENTS // min(len(every), MAX_SHOWN)
    shown = [f"{line(name, 80)}: {_ends(_written(each), limit)}" for name, each in every.items()]
    more = [f"(and {len(shown) - MAX_SHOWN:,} more arguments)"] if len(shown) > MAX_SHOWN else []
    return [*shown[:MAX_SHOWN], *more]


def _written(value: Any) -> str:
    """As JSON without line breaks between its parts, which could push the rest out of sight."""
    return safe(json.dumps(value, ensure_ascii=False))


def _ends(text: str, limit: int) -> str:
    over = len(text) - limit
    return text if over <= 0 else f"{text[: limit * 2 // 3]} [... {over:,} characters ...] {text[-(limit // 3) :]}"


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
    try:
        loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    except NotImplementedError:
        return await _line_in_thread(fd)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
    return _read(fd)


async def _line_in_thread(fd: int) -> str:
    """The same on Windows, whose loop watches no terminal; what cancels it leaves a thread, which takes one line more."""
    loop = asyncio.get_running_loop()
    said: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        text = _read(fd)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: said.done() or said.set_result(text))

    threading.Thread(target=read, name="massgen approval", daemon=True).start()
    return await said


def _read(fd: int) -> str:
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
