"""The command `massgen` as processes of their own, each forked from one that has loaded the libraries (`tests.forking`): that
takes 25 ms of CPU where a start takes 0.15 to 3 s.
"""

import asyncio
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@contextmanager
def serving(environment: Mapping[str, str]) -> Generator[str]:
    """Where a process listens that forks, and has loaded the libraries in `environment`."""
    name = f"\0massgen-{os.getpid()}-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(name)
        listener.listen()
        program, pipe = [sys.executable, "-m", "tests.forking", str(listener.fileno())], subprocess.PIPE
        process = subprocess.Popen(
            program, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, pass_fds=[listener.fileno()]
        )
    assert process.stdout
    with process:  # which closes its stdin, and waits
        process.stdout.readline()
        yield name


@functools.cache
def address() -> str:
    """Where such a process listens until this one ends; it is started when it is needed first."""
    stack = ExitStack()
    atexit.register(stack.close)
    known = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "MASSGEN_"))}
    return stack.enter_context(serving(known))


def program(address: str) -> str:
    """The text of a program for shells that is `massgen`, forked."""
    return f"""#!{sys.executable} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as told:
    told.connect({address!r})
    order = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
    socket.send_fds(told, [json.dumps(order).encode()], [0, 1, 2])
    pid = int(told.recv(100))
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os.kill(pid, number))
    os._exit(int(told.recv(100)) % 256)
"""


def can(environment: Mapping[str, str], how: Mapping[str, Any]) -> bool:
    """Whether a fork can be what is asked for: Python itself starts in no other way, nothing runs before the command."""
    plain = not any(name.startswith(("PYTHON", "LANG", "LC_")) for name in environment)
    return sys.platform == "linux" and plain and how.keys() <= {"stdin", "stdout", "stderr", "cwd", "limit"}


class _Ends(asyncio.BaseProtocol):
    """Our ends of the process's pipes."""

    stdin: asyncio.StreamWriter | None = None
    stdout: asyncio.StreamReader | None = None
    stderr: asyncio.StreamReader | None = None


class _Forked(asyncio.SubprocessTransport):
    """What asyncio needs of a process; its id, and how it ended, come over `told`."""

    def __init__(self, told: socket.socket) -> None:
        super().__init__()
        self._told, self._pid = told, int(told.recv(100))
        self._returncode: int | None = None
        self._ended, self.pipes = asyncio.Event(), dict[int, asyncio.BaseTransport]()
        asyncio.get_running_loop().add_reader(told, self._end)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._told)
        self._returncode = int(self._told.recv(100))
        self._told.close()
        self._ended.set()

    async def _wait(self) -> int | None:
        await self._ended.wait()
        return self._returncode

    def get_pid(self) -> int:
        return self._pid

    def get_returncode(self) -> int | None:
        return self._returncode

    def get_pipe_transport(self, fd: int) -> Any:
        return self.pipes[fd]

    def send_signal(self, signal: int) -> None:
        if self._returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@asynccontextmanager
async def forked(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    limit: int = 2**16,
    **ends: Any,
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """The command with `arguments`, as `asyncio.create_subprocess_exec` would start it; what is left of it is killed at the end."""
    order = {"arguments": arguments, "folder": str(cwd or Path.cwd()), "environment": dict(environment)}
    ours: dict[int, int] = {}
    with ExitStack() as stack:
        theirs = [_theirs(stack, n, ends.get(name), ours) for n, name in enumerate(("stdin", "stdout", "stderr"))]
        transport = _Forked(_ordered(order, theirs))
    loop, protocol = asyncio.get_running_loop(), _Ends()
    if 0 in ours:
        protocol.stdin, transport.pipes[0] = await _writer(loop, ours[0])
    if 1 in ours:
        protocol.stdout, transport.pipes[1] = await _reader(loop, ours[1], limit)
    if 2 in ours:
        protocol.stderr, transport.pipes[2] = await _reader(loop, ours[2], limit)
    process = asyncio.subprocess.Process(transport, protocol, loop)
    try:
        yield process
    finally:
        transport.kill()
        await process.wait()
        for pipe in transport.pipes.values():
            pipe.close()


async def _reader(
    loop: asyncio.AbstractEventLoop, fd: int, limit: int
) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader(limit)
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
    return reader, pipe


async def _writer(loop: asyncio.AbstractEventLoop, fd: int) -> tuple[asyncio.StreamWriter, asyncio.BaseTransport]:
    flow = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    pipe, _ = await loop.connect_write_pipe(lambda: flow, os.fdopen(fd, "wb", 0))
    return asyncio.StreamWriter(pipe, flow, None, loop), pipe


def _theirs(stack: ExitStack, number: int, given: Any, ours: dict[int, int]) -> int:
    """The descriptor that the process gets in place `number`; if it is one end of a pipe, the other one is among `ours`."""
    match given:
        case subprocess.PIPE:
            ends = os.pipe()
            ours[number] = ends[0 if number else 1]
            theirs = ends[1 if number else 0]
        case subprocess.DEVNULL:
            theirs = os.open(os.devnull, os.O_RDWR)
        case None:
            return number
        case int():
            return given
        case _:
            return given.fileno()
    stack.callback(os.close, theirs)
    return theirs


def _ordered(order: Mapping[str, Any], ends: Sequence[int]) -> socket.socket:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told.connect(address())
    socket.send_fds(told, [json.dumps(order).encode()], ends)
    return told
