"""The command `massgen` as processes of their own, each forked from one that has loaded the libraries: that takes 10 ms of CPU where
a start takes up to a second and a half.

`python -m tests.forks FD`: at the socket FD it listens for orders, a connection each: JSON (`arguments`, `folder`, `environment`)
with stdin, stdout and stderr. It answers with the process's id and, when that has ended, with how. It ends with its stdin.
"""

import asyncio
import atexit
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Never

ROOT = Path(__file__).parent.parent
MOST = 2**17
"""Bytes of an order; what is longer, is refused by the kernel."""
_SLOW = (
    "coverage",
    "mcp",
    "prompt_toolkit",
    "rich.live",
    "massgen.backends.gateway",
    "massgen.backends.tokens",
    "massgen.toolbox.server",
)
"""What the command loads where it is needed; a module's `preload` loads what that needs."""


@contextmanager
def serving(environment: Mapping[str, str]) -> Generator[str]:
    """Where a process listens that forks, and has loaded the libraries in `environment`."""
    name = f"\0massgen-{os.getpid()}-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(name)
        listener.listen()
        program, pipe = [sys.executable, "-m", "tests.forks", str(listener.fileno())], subprocess.PIPE
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


# The process that forks


def _load() -> None:
    import massgen

    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # as the command does
    names = [each.name for each in pkgutil.walk_packages(massgen.__path__, "massgen.")]
    for name in (*names, *_SLOW):
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            if preload := vars(module).get("preload"):
                preload().join()
    gc.disable()
    gc.freeze()


def _serve(listener: socket.socket) -> None:
    _load()
    print(flush=True)
    events = selectors.DefaultSelector()
    events.register(listener, selectors.EVENT_READ, lambda: _begin(listener, events))
    events.register(0, selectors.EVENT_READ, sys.exit)
    while True:
        for key, _ in events.select():
            key.data()


def _begin(listener: socket.socket, events: selectors.BaseSelector) -> None:
    told, _ = listener.accept()
    order, ends, _, _ = socket.recv_fds(told, MOST, 3)
    if not (child := os.fork()):
        _live(json.loads(order), ends)
    for each in ends:
        os.close(each)
    ended = os.pidfd_open(child)
    events.register(ended, selectors.EVENT_READ, lambda: _tell(events, told, child, ended))
    events.register(told, selectors.EVENT_READ, lambda: _abandon(events, told, child))
    with suppress(OSError):
        told.send(str(child).encode())


def _abandon(events: selectors.BaseSelector, told: socket.socket, child: int) -> None:
    """Who ordered it is gone, as if it were itself what was killed."""
    if told in events.get_map():  # and not told just now that it has ended
        events.unregister(told)
        os.kill(child, signal.SIGKILL)


def _tell(events: selectors.BaseSelector, told: socket.socket, child: int, ended: int) -> None:
    events.unregister(ended)
    os.close(ended)
    if told in events.get_map():
        events.unregister(told)
    with told, suppress(OSError):
        told.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _live(order: Mapping[str, Any], ends: Sequence[int]) -> Never:
    """The rest of a forked process's life; whatever comes, it does not return to what the forking process does."""
    code = 1
    try:
        _become(order, ends)
        code = _ran()
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)


def _become(order: Mapping[str, Any], ends: Sequence[int]) -> None:
    """What Python does at its start."""
    for number, each in enumerate(ends):
        os.dup2(each, number)
    os.closerange(3, 256)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.path[0] = order["folder"]
    sys.argv = ["massgen", *order["arguments"]]
    sys.stdin = sys.__stdin__ = _stream(0, "r", "strict")
    sys.stdout = sys.__stdout__ = _stream(1, "w", "strict")
    sys.stderr = sys.__stderr__ = _stream(2, "w", "backslashreplace")


def _stream(number: int, mode: str, errors: str) -> io.TextIOWrapper:
    binary = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - lives as long as the process
    return io.TextIOWrapper(binary, "utf-8", errors, line_buffering=number == 2 or os.isatty(number))


def _ran() -> int:
    """The command, and what Python does at its end; its exit code."""
    if "COVERAGE_PROCESS_CONFIG" in os.environ:
        import coverage

        coverage.process_startup()
    code = 0
    try:
        importlib.import_module("massgen.__main__").main()
    except SystemExit as end:
        code = int(end.code or 0)
    vars(threading)["_shutdown"]()
    vars(atexit)["_run_exitfuncs"]()
    with suppress(OSError):
        sys.stderr.flush()
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
