"""The command `massgen` as processes that can be ended anywhere: each is forked from one that has loaded the libraries once.

`python -m tests.warm` reads orders from stdin, a line of JSON each, and answers each with the process's id and, when that has
ended, with 0. It is reaped, and how it ended told, only at the next line: until then its id is nobody else's, and may be killed.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Never

LOADED = (
    "aiohttp", "massgen.app", "massgen.cli", "massgen.commands.ask", "massgen.commands.replay", "massgen.commands.verify",
    "massgen.continuing", "massgen.conversation", "massgen.importing", "massgen.limits", "massgen.quick", "massgen.report",
    "massgen.sessions.digest", "massgen.sessions.index", "massgen.replay.verifying",
)  # fmt: skip
LONGEST = 15
"""Seconds after which a process is ended in any case."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to run in `folder`, where its `out` and `err` are kept, and where it shall end."""

    folder: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    size: int = 0
    """The kernel ends it when it writes beyond so many bytes in any file; 0: never. What fits is written before."""
    full: int = 0
    """The same, but it is told that nothing more can be written."""
    plain: bool = False
    """Permissions hold for it even where it is root's."""
    cpu: float = 0.0
    """The kernel ends it after so many seconds of CPU; 0: never."""


@dataclass(slots=True)
class Warm:
    """The process that forks; one command at a time."""

    process: "subprocess.Popen[str]"

    def begin(self, order: Order) -> int:
        """Start a command; its process id."""
        assert self.process.stdin
        print(json.dumps(asdict(order)), file=self.process.stdin, flush=True)
        return self._number()

    def wait(self) -> None:
        """Until it has ended."""
        self._number()

    def reap(self) -> int:
        """Its exit code, or the signal that ended it as a negative number."""
        assert self.process.stdin
        print("reap", file=self.process.stdin, flush=True)
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())


@contextmanager
def warm() -> Generator[Warm]:
    """The libraries, loaded; what is running when the block ends is killed. Nothing is traced: `os._exit` would lose it."""
    program = [sys.executable, "-m", "tests.warm"]
    root = Path(__file__).parent.parent
    untraced = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}
    with subprocess.Popen(
        program, cwd=root, env=untraced, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Warm(process)


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    gc.disable()
    gc.freeze()
    for line in sys.stdin:
        alive, life = os.pipe()
        if not (child := os.fork()):
            _live(Order(**json.loads(line)))
        os.close(life)
        print(child, flush=True)
        os.read(alive, 1)  # nothing comes but its end
        os.close(alive)
        print(0, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _live(order: Order) -> Never:
    """The rest of a forked process's life."""
    from massgen.cli import run

    os.chdir(order.folder)
    os.environ.update(order.environment)
    for number, (name, flags) in enumerate([(os.devnull, os.O_RDONLY), ("out", _NEW), ("err", _NEW)]):
        os.dup2(os.open(name, flags, 0o600), number)
    signal.alarm(LONGEST)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if order.cpu:
        signal.setitimer(signal.ITIMER_PROF, order.cpu)  # nobody handles SIGPROF, which then ends the process
    if size := order.size or order.full:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if order.size else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if order.plain:
        _give_up_privileges()
    code = run([*order.arguments])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _give_up_privileges() -> None:
    """Linux's capabilities, by which root needs no permission."""
    if os.geteuid() == 0:
        system = ctypes.CDLL(None, use_errno=True)
        version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert system.capset(version, none) == 0, os.strerror(ctypes.get_errno())


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

if __name__ == "__main__":
    _serve()
