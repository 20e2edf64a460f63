"""Writes the pages of the handbook that follow from the code: `python -m tests.handbook.generate [--check]`."""

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any, get_args

import click

from massgen import errors, events, prompts
from massgen.agents import Task, Turn, briefing
from massgen.config.schema import texts_below
from massgen.events import Fact, Purpose
from tests.handbook import tables
from tests.handbook.limits_page import limits_page
from tests.handbook.names import every_command
from tests.handbook.planning_page import planning_page
from tests.handbook.providers_page import providers_page

FOLDER = Path(__file__).parents[2] / "handbook" / "reference"
NOTE = "<!-- Written by `make docs-update` from {source}. Change it there. -->"


# --- prompts -------------------------------------------------------------------------------------------------------


def prompts_page() -> str:
    """Every text of the modules that speak to models, and the tools as each purpose offers them."""
    parts = [
        ("Any model", r"(?!COMPACT|JSON|TOOLS)"),
        ("Embedded models (`type: local`)", "COMPACT"),
        ("Models without tool calls (`tool_calling: json`)", "JSON"),
    ]
    blocks = [f"## {title}\n\n{_prose(names)}" for title, names in parts]
    tools = [f"### {purpose}\n\n{_fence('json', _tools(purpose))}" for purpose in get_args(Purpose)]
    intro = (
        "All that massgen itself says to models. Words in braces are filled in. An agent's own `system_message` goes "
        "before them, but after the one sentence that embedded models get."
    )
    told = "What an agent may call, by the purpose of its turn; `solo` and `present` end in plain text."
    return _page("Prompts", "massgen/prompts.py", intro, *blocks, f"## Tools\n\n{told}", *tools)


def _prose(names: str) -> str:
    """The texts of `massgen.prompts` whose names match."""
    texts = {name: value for name, value in vars(prompts).items() if name.isupper() and re.match(names, name)}
    return "\n\n".join(
        f"### {name}\n\n{_texts(value)}" for name, value in texts.items() if isinstance(value, str | dict)
    )


def _texts(value: str | Mapping[str, str]) -> str:
    named = {"": value} if isinstance(value, str) else value
    return "\n\n".join(
        f"{f'`{name}`' if name else ''}\n\n{_fence('text', _wrap(text))}".strip() for name, text in named.items()
    )


def _tools(purpose: Purpose) -> str:
    turn = Turn(1, "", purpose, Task(""), {}, True, *([lambda *_: None] * 4))
    return json.dumps([asdict(tool) for tool in briefing.tools(turn, ["agent1", "agent2"])], indent=2)


# --- facts ---------------------------------------------------------------------------------------------------------


def facts_page() -> str:
    """Every fact of `massgen.events` with its fields."""
    intro = (
        "A session is one file, `events.jsonl`: a header line, then one JSON object a line. Each has `seq` (1, 2, ...), "
        "`at` (seconds since 1970, UTC), `type` (the fact's name) and the fact's fields; a field at its default is left "
        "out. A line with `more` belongs with the next one: of such facts a log has all or none. In the place of a text of "
        "more than 65,536 characters stands which file in `blobs` holds it. `massgen --json` prints the facts whole, without "
        "such marks."
    )
    told = texts_below(events)
    return _page("Facts", "massgen/events.py", intro, *(_fact(kind, told) for kind in get_args(Fact)))


def _fact(kind: type[Any], told: Mapping[str, str]) -> str:
    rows = [
        f"| `{each.name}` | `{_hint(each)}` | {_fact_default(each)} | {told.get(f'{kind.__name__}.{each.name}', '')} |"
        for each in fields(kind)
    ]
    table = "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])
    return f"## {kind.__name__}\n\n{' '.join((inspect.getdoc(kind) or '').split())}\n\n{table}"


def _hint(field: "Field[Any]") -> str:
    hint = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", str(field.type))
    shown = str(field.type) if get_args(field.type) else hint
    for prefix in ("typing.", "collections.abc.", "massgen.events.", "massgen.messages."):
        shown = shown.replace(prefix, "")
    return shown.replace("|", "\\|").replace(", ...]", ", ...]")


def _fact_default(field: "Field[Any]") -> str:
    if field.default_factory is not MISSING:
        return "empty"
    return "" if field.default is MISSING else f"`{json.dumps(field.default) if field.default != () else '[]'}`"


# --- command line and exit codes -----------------------------------------------------------------------------------


def command_line_page() -> str:
    """The help of every command, as it is printed 80 columns wide."""
    blocks = [f"## {name}\n\n{_fence('text', _help(name, command))}" for name, command in every_command().items()]
    intro = "Run as a module, `python -m massgen` is the same command. [What its exit codes mean](exit-codes.md)."
    return _page("Command line", "massgen/cli.py", intro, *blocks)


def _help(name: str, command: click.Command) -> str:
    context = click.Context(
        command, info_name=name, terminal_width=80, max_content_width=80, help_option_names=["-h", "--help"]
    )
    return command.get_help(context)


def exit_codes_page() -> str:
    """The members of `massgen.errors.Exit`, and the tree of errors that lead to them."""
    told = texts_below(errors)
    rows = [f"| {code.value} | `{code.name}` | {told[f'Exit.{code.name}']} |" for code in errors.Exit]
    table = "\n".join(["| code | name | meaning |", "|---|---|---|", *rows])
    tree = (errors.__doc__ or "").partition("\n\n")[2].strip()
    intro = "The exit code of `massgen` says what came of the question; `massgen.Result.exit_code` is the same number."
    return _page(
        "Exit codes",
        "massgen/errors.py",
        intro,
        table,
        f"## Errors\n\nThe number is the exit code.\n\n{_fence('text', tree)}",
    )


# --- writing -------------------------------------------------------------------------------------------------------

PAGES: Mapping[str, Callable[[], str]] = {
    "prompts.md": prompts_page,
    "configuration.md": lambda: _page("Configuration", "massgen/config/__init__.py", *tables.configuration()),
    "facts.md": facts_page,
    "command-line.md": command_line_page,
    "exit-codes.md": exit_codes_page,
    "environment.md": lambda: _page("Environment variables", "tests/handbook/names.py", *tables.variables()),
    "providers.md": providers_page,
    "rate-limits.md": limits_page,
    "planning-tools.md": planning_page,
    "templates.md": lambda: _page("Templates", "examples/", *tables.templates()),
}


def _page(title: str, source: str, *blocks: str) -> str:
    return "\n\n".join([f"# {title}", NOTE.format(source=f"`{source}`"), *blocks]) + "\n"


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _wrap(text: str) -> str:
    return "\n".join(
        textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False) for line in text.split("\n")
    )


def stale(folder: Path = FOLDER) -> list[Path]:
    """The pages that are not what the code says."""
    return [
        path
        for name, page in PAGES.items()
        if not (path := folder / name).exists() or path.read_text("utf-8") != page()
    ]


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write all pages; with `--check` only say which are stale (exit code 1)."""
    if arguments == ["--check"]:
        for path in (old := stale(folder)):
            print(f"{path}: not what the code says; run: make docs-update", file=sys.stderr)
        return 1 if old else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
