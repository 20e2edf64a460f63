"""What each kind of fence must be. A language that is not in `CHECKERS` is a problem: nothing is shown that nobody checks."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import yaml

from massgen.config.loading import load, parse
from massgen.errors import ConfigError
from tests.handbook import installs
from tests.handbook.console import is_file
from tests.handbook.fences import Fence, Problem, fences

PART = " (part)"
"""Ends the title of a YAML fence that shows some sections of a configuration."""
_SNIPPET = re.compile(r'--8<-- "([^"]+)"')
_DIAGRAMS = ("stateDiagram-v2", "sequenceDiagram", "flowchart", "gantt", "timeline")
GENERATED = "<!-- Written by `make docs-update`"
"""How a generated page begins; its texts are checked against the code instead."""


def problems(page: Path) -> Iterator[Problem]:
    """All that is wrong with the fences of `page`, short of running them."""
    yield from installs.problems(page)
    for fence in fences(page):
        snippet = _SNIPPET.fullmatch(fence.body.strip())
        if snippet:
            yield from _snippet(fence, snippet[1])
        elif checker := CHECKERS.get(fence.language):
            yield from checker(fence)
        else:
            known = ", ".join(sorted(CHECKERS))
            what = f"no checker claims a fence of language {fence.language or '(none)'!r}"
            yield Problem(
                fence.where, "fence", what, f"Use one of {known}, or add a checker to tests/handbook/checks.py."
            )


def _snippet(fence: Fence, name: str) -> Iterator[Problem]:
    if not Path(name).is_file():
        yield Problem(
            fence.where, "snippet", f"there is no file {name}", "Name a file, from the root of the repository."
        )


def _console(fence: Fence) -> Iterator[Problem]:
    if not fence.body.startswith("$ "):
        what = "a console fence begins with `$ ` and a command"
        yield Problem(
            fence.where,
            "console",
            what,
            "Write the command, and run make docs-update; or use `bash` for commands without output.",
        )


def _bash(fence: Fence) -> Iterator[Problem]:
    ran = subprocess.run(["bash", "-n"], input=fence.body, text=True, capture_output=True, check=False)
    if ran.returncode:
        yield Problem(fence.where, "bash", ran.stderr.strip(), "Mend the command.")


def _yaml(fence: Fence) -> Iterator[Problem]:
    try:
        if is_file(fence) and not fence.title.endswith((".yml",)):
            yield from _configuration(fence)
        elif fence.title.endswith(PART):
            data = {"agents": [{"backend": {"type": "local"}}], **yaml.safe_load(fence.body)}
            parse(data, _variables(fence.body))
        elif not fence.title.endswith(".yml"):
            fix = f"Give it a title: the file's name if it is whole, \"NAME.yaml{PART}\" if not, NAME.yml if it is none of massgen's."
            yield Problem(fence.where, "yaml", "a YAML fence names its model by its title", fix)
        else:
            yaml.safe_load(fence.body)
    except ConfigError as error:
        yield Problem(fence.where, "configuration", "; ".join(error.problems), "Mend the example, or what broke it.")
    except (yaml.YAMLError, TypeError) as error:
        yield Problem(fence.where, "yaml", " ".join(str(error).split()), "Mend the YAML.")


def _configuration(fence: Fence) -> Iterator[Problem]:
    """Loaded as a file among the page's other ones, so that it can extend them."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for other in fences(fence.page):
            if is_file(other):
                target = Path(folder, other.title)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(other.body, "utf-8")
        Path(folder, fence.title).write_text(fence.body, "utf-8")
        try:
            load(Path(folder, fence.title), _variables(fence.page.read_text("utf-8")))
        except ConfigError as error:
            raise ConfigError([problem.replace(f"{folder}/", "") for problem in error.problems]) from None
    return
    yield


def _variables(text: str) -> Mapping[str, str]:
    """A value for every variable of a text."""
    return dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "http://localhost:1/v1")


def _json(fence: Fence) -> Iterator[Problem]:
    try:
        json.loads(fence.body)
    except ValueError as error:
        yield Problem(fence.where, "json", str(error), "Mend the JSON.")


def _jsonl(fence: Fence) -> Iterator[Problem]:
    try:
        for line in fence.body.splitlines():
            json.loads(line)
    except ValueError as error:
        yield Problem(fence.where, "jsonl", str(error), "Mend the JSON.")


def _toml(fence: Fence) -> Iterator[Problem]:
    try:
        tomllib.loads(fence.body)
    except tomllib.TOMLDecodeError as error:
        yield Problem(fence.where, "toml", str(error), "Mend the TOML.")


def _python(fence: Fence) -> Iterator[Problem]:
    """It is run by tests/test_handbook.py; here only whether it can be."""
    try:
        ast.parse(fence.body)
    except SyntaxError as error:
        yield Problem(fence.where, "python", str(error), "Mend the code.")


def _mermaid(fence: Fence) -> Iterator[Problem]:
    """A real browser draws it in tests/browser; here what that cannot see."""
    if not fence.body.lstrip().startswith(_DIAGRAMS):
        yield Problem(
            fence.where, "diagram", "no kind of diagram that is known", f"Begin with one of {', '.join(_DIAGRAMS)}."
        )
    for needed in ("accTitle:", "accDescr:"):
        if needed not in fence.body:
            yield Problem(
                fence.where, "diagram", f"it has no {needed}", "Say it in a line, for readers who do not see it."
            )


def _text(fence: Fence) -> Iterator[Problem]:
    if GENERATED not in fence.page.read_text("utf-8") and fence.title != "tree" and not is_file(fence):
        what = "plain text is what nobody checks"
        yield Problem(fence.where, "text", what, "Show it as the output of a command, in a console fence.")


def _file(fence: Fence) -> Iterator[Problem]:
    """A file of the page's session: what uses it checks it."""
    if not is_file(fence):
        yield Problem(fence.where, fence.language, "its title is no file's name", 'Give it one: title="name.txt".')


CHECKERS: Mapping[str, Callable[[Fence], Iterator[Problem]]] = {
    "console": _console, "bash": _bash, "yaml": _yaml, "json": _json, "jsonl": _jsonl, "toml": _toml, "python": _python,
    "mermaid": _mermaid, "text": _text, "ini": _file, "markdown": _file,
}  # fmt: skip
