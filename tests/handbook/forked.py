"""The gate on a repository that keeps changing: one process loads the libraries once, and forks for each time it is asked.

Each fork imports the repository's own modules anew, so it sees what they are now. `python -P forked.py`, in the repository and
with `PYTHONPATH` leading there, reads lines of stdin (arguments as JSON) and answers with `[exit code, what it told]`.
"""

import gc
import importlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from compileall import compile_dir
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TypeAlias

OURS = ("massgen", "tests", "benchmarks")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", "*.ipynb_checkpoints")

Gate: TypeAlias = Callable[..., tuple[int, str]]
"""`gate("check", "README.md")`: its exit code and what it told."""


def copied(repository: Path, root: Path, names: Sequence[str]) -> Path:
    """Copy `names` of `repository` to `root`. Modules are compiled by content: after an edit the source counts at once."""
    for name in names:
        if (repository / name).is_dir():
            shutil.copytree(repository / name, root / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(repository / name, root / name)
    for name in OURS:
        compile_dir(root / name, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return root


@contextmanager
def gate(root: Path, environment: Mapping[str, str]) -> Generator[Gate]:
    """The gate on the repository at `root`, whose code is the gate's, too."""
    own = {**environment, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-P", str(Path(__file__).absolute())]
    with subprocess.Popen(
        program, cwd=root, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(*arguments: str) -> tuple[int, str]:
            assert process.stdin
            assert process.stdout
            print(json.dumps(arguments), file=process.stdin, flush=True)
            code, told = json.loads(process.stdout.readline())
            return code, told

        yield ask


def _serve() -> None:
    runpy.run_module("tests.handbook.__main__")
    importlib.import_module("massgen.servers.planning")  # of which a page is generated: each fork would load mcp, 1.4 s
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    gc.disable()  # a fork's life is short
    gc.freeze()
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as told:
            child = os.fork()
            if not child:
                _check(json.loads(line), told.fileno())
            _, status = os.waitpid(child, 0)
            told.seek(0)
            print(json.dumps([os.waitstatus_to_exitcode(status), told.read()]), flush=True)


def _check(arguments: list[str], told: int) -> None:
    """Ends the process as the gate does, but does not tear down what was loaded."""
    os.dup2(told, 1)
    os.dup2(told, 2)
    sys.argv[1:] = arguments
    try:
        runpy.run_module("tests.handbook.__main__", run_name="__main__")
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(end.code or 0))


if __name__ == "__main__":
    _serve()
