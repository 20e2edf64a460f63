"""The process that forks: `python -m tests.forking FD` loads the libraries, says so by a line, and listens at the socket FD.

An order is a connection: JSON (`arguments`, `folder`, `environment`) with stdin, stdout and stderr. It answers with the process's
id and, when that has ended, with how. Whose connection is closed before is killed. It ends with its stdin.
"""

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Never

import massgen

MOST = 2**20
"""Bytes of an order; the kernel takes less."""
_SLOW = ("coverage", "mcp", "prompt_toolkit", "rich.live")
"""What the command loads where it is needed; a module's `preload` loads what else that needs."""


def _load() -> None:
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
        _live(order, ends)
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


def _live(order: bytes, ends: Sequence[int]) -> Never:
    """The rest of a forked process's life; whatever comes, it does not return to what the forking process does."""
    code = 1
    try:
        _become(json.loads(order), ends)
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
