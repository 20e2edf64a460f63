"""Runs the command `massgen` as a user does: a process of its own, against a loopback provider."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests import forks

COLD = ("-m", "massgen")
"""The `program` that starts as a user's does. Without one the command is forked (`tests.forks`) where that can be the same."""
SECONDS = 20.0
"""What a command may take; half a second on an idle machine."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


def write_config(path: Path, base_url: str, agents: int = 3, **sections: Any) -> Path:
    """A team `m1`, `m2`, ... on the provider at `base_url`; `sections` go beside `agents`."""
    team = [
        {"id": f"m{n}", "backend": {"type": "chatcompletion", "model": f"m{n}", "base_url": base_url}}
        for n in range(1, agents + 1)
    ]
    path.write_text(yaml.safe_dump({"agents": team, **sections}))
    return path


@asynccontextmanager
async def started(
    *arguments: str, env: Mapping[str, str] | None = None, program: tuple[str, ...] | None = None, **how: Any
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The command, running; whatever is left of it is killed at the end."""
    how = {**dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE), **how}
    environment = {**os.environ, **(env or {})}
    if program is None and forks.can(env or {}, how):
        async with forks.forked(arguments, environment, **how) as process:
            yield process
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *(COLD if program is None else program), *arguments), env=environment, **how
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def massgen(*arguments: str, stdin: bytes | None = b"", seconds: float = SECONDS, **how: Any) -> Ran:
    """Run the command to its end, which must come within `seconds`."""
    async with started(*arguments, **how) as process:
        return await ended(process, stdin, seconds)


async def ended(process: asyncio.subprocess.Process, stdin: bytes | None = None, seconds: float = SECONDS) -> Ran:
    async with asyncio.timeout(seconds):
        out, err = await process.communicate(stdin)
    return Ran(process.returncode or 0, (out or b"").decode(), (err or b"").decode())


def left_running(pid: int) -> list[psutil.Process]:
    """What a process that has ended has left behind."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return [each for each in psutil.process_iter(["ppid"]) if each.info["ppid"] == pid]
