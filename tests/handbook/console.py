"""Runs the `console` fences of a page as its reader would, one shell for the whole page, and compares what comes out.

`$ command` lines (a `\\` continues one) are followed by what they print: what stderr says in lines of `massgen:`, then stdout;
the progress of a run is left out, as it differs. `[exit code N]` follows if it is not 0. Before that, each fence with a file's
name as its title is written to that file, where it stands on the page.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests import forks
from tests.handbook.fences import Fence, Problem, fences

SECONDS = 90
"""What all the commands of a page may take."""
ROOT = Path(__file__).parents[2]
_FILE = re.compile(r"[\w./-]+\.[a-z]+|\.env")
_VOLATILE = (
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s)\b"), "N s"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T_ -]?\d\d[:-]?\d\d[:-]?\d\d\S*"), "TIME"),
    (re.compile(r'"(seconds|calls|input_tokens|output_tokens)": [\d.]+'), r'"\1": N'),
    # An agent that votes before it has seen all answers is asked again.
    (re.compile(r"\b\d+ model calls; [\d,]+ tokens in, [\d,]+ out"), "N model calls; N tokens in, N out"),
    (re.compile(r"/sessions/[\w.-]+"), "/sessions/SESSION"),
    (re.compile(r"\b\d{8}-\d{6}-[0-9a-f]{6}\b"), "SESSION"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page: `text` for the shell, what the page says it prints, and where that is in the page's text."""

    fence: Fence
    line: int
    text: str
    expected: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command really printed."""

    command: Command
    actual: str

    @property
    def same(self) -> bool:
        return steady(self.command.expected) == steady(self.actual)


def steady(text: str) -> str:
    """`text` with what differs from run to run (durations, times, names of sessions) replaced."""
    for pattern, name in _VOLATILE:
        text = pattern.sub(name, text)
    return text.rstrip("\n")


def is_file(fence: Fence) -> bool:
    """Whether the title of `fence` is the name of a file that it holds."""
    return bool(_FILE.fullmatch(fence.title)) and not fence.title.startswith((".github", "/"))


def commands(fence: Fence) -> list[Command]:
    """The commands of a `console` fence."""
    found: list[Command] = []
    place, lines = fence.start, fence.body.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        first, text, place = number, lines[number], place + _width(fence, lines[number])
        number += 1
        while text.rstrip("\n").endswith("\\") and number < len(lines):
            text += lines[number]
            place += _width(fence, lines[number])
            number += 1
        start, output = place, ""
        while number < len(lines) and not lines[number].startswith("$ "):
            output += lines[number]
            place += _width(fence, lines[number])
            number += 1
        found.append(Command(fence, fence.line + first + 1, text.removeprefix("$ ").strip(), output, start, place))
    return found


def _width(fence: Fence, line: str) -> int:
    return len(fence.indent) + len(line)


@contextmanager
def world(model: Path, *, many: bool = False) -> Generator[Mapping[str, str]]:
    """The variables by which programs live in a world without network, where embedded agents think with `model`.

    `many` commands are forked from one that has started there. That something tried to reach a host that does not exist there is
    an error."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "tests.handbook.world", folder]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            variables = {**json.loads(process.stdout.readline()), "MASSGEN_LOCAL_MODEL": str(model)}
            with _forking(variables, Path(folder)) if many else nullcontext(variables) as known:
                yield known
            process.stdin.close()
            refused = json.loads(process.stdout.readline())["refused"]
    if refused:
        raise RuntimeError(f"pages tried to reach {', '.join(sorted(set(refused)))}")


@contextmanager
def _forking(variables: Mapping[str, str], folder: Path) -> Generator[Mapping[str, str]]:
    """`variables` with a `massgen` first in the path that is a fork. It trusts the world's authority from its start."""
    known = {**environment(folder), **variables}
    with forks.serving(known) as address:
        program = folder / "massgen"
        program.write_text(forks.program(address))
        program.chmod(0o700)
        yield {**variables, "PATH": f"{folder}{os.pathsep}{known['PATH']}"}


def run(page: Path, variables: Mapping[str, str], home: Path) -> list[Ran]:
    """Run all that is executable on `page`, in `home`, and return what its commands printed."""
    todo = [command for fence in fences(page) if fence.language == "console" for command in commands(fence)]
    if not todo:
        return []
    work, out = home / "work", home / "out"
    work.mkdir(parents=True)
    out.mkdir()
    script = "".join(_step(fence, todo, work, out) for fence in fences(page))
    known = {**environment(home), **variables}
    subprocess.run(["bash", "-c", script], cwd=work, env=known, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    return [Ran(command, _output(out / str(number), home)) for number, command in enumerate(todo)]


def environment(home: Path) -> dict[str, str]:
    """All that programs know of the machine."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        "PATH": path, "HOME": str(home), "COLUMNS": "80", "TERM": "dumb", "LANG": "C.UTF-8", "NO_COLOR": "1",
        "PYTHONPATH": str(Path.cwd()), "TZ": "UTC", "PYTHONHASHSEED": "0",
    }  # fmt: skip


def _step(fence: Fence, todo: list[Command], work: Path, out: Path) -> str:
    if is_file(fence) and fence.language != "console":
        target = work / fence.title
        return f"mkdir -p {shlex.quote(str(target.parent))}\nprintf %s {shlex.quote(fence.body)} > {shlex.quote(str(target))}\n"
    numbers = [number for number, command in enumerate(todo) if command.fence == fence]
    return "".join(_command(todo[number], shlex.quote(str(out / str(number)))) for number in numbers)


def _command(command: Command, name: str) -> str:
    """Evaluated, so that what one command exports is there for the next, and a slip of syntax stays its own."""
    return f"eval {shlex.quote(command.text)} > {name}.out 2> {name}.err\necho $? > {name}.code\n"


def _output(name: Path, home: Path) -> str:
    def text(kind: str) -> str:
        file = name.with_name(f"{name.name}.{kind}")
        return file.read_text("utf-8", "replace") if file.exists() else "did not run\n"

    code = text("code").strip()
    said = "".join(_told(text("err"))) + text("out")
    said += "\n" if said and not said.endswith("\n") else ""
    said += f"[exit code {code}]\n" if code != "0" else ""
    return said.replace(str(home / "work") + "/", "").replace(str(home), "~")


def _told(stderr: str) -> Iterator[str]:
    """The lines that begin with a program's name, and what is indented below them."""
    ours = False
    for line in stderr.splitlines(keepends=True):
        ours = bool(re.match(r"(massgen|bash|Usage|Error|Try)\b|[\w./~-]+:\d+:\d+ ", line)) or (
            ours and line.startswith(" ")
        )
        if ours:
            yield line.rstrip("\n") + "\n"


def problems(ran: list[Ran]) -> Iterator[Problem]:
    for each in ran:
        if not each.same:
            where = f"{each.command.fence.page}:{each.command.line}"
            what = f"`{each.command.text}` prints\n{_quoted(each.actual)}  and not\n{_quoted(each.command.expected)}"
            yield Problem(
                where, "output", what.rstrip(), "make docs-update writes what it prints; then look at the difference"
            )


def _quoted(text: str) -> str:
    return "".join(f"    | {line}\n" for line in steady(text).splitlines()) or "    | (nothing)\n"


def rewritten(page: Path, ran: list[Ran]) -> str:
    """The page's text with each output that is no longer true replaced."""
    text = page.read_text("utf-8")
    for each in reversed(ran):
        if not each.same:
            command = each.command
            lines = each.actual.splitlines(keepends=True)
            body = "".join(command.fence.indent + line if line.strip() else line for line in lines)
            text = text[: command.start] + body + text[command.end :]
    return text
