"""`massgen examples`: the configuration templates."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from massgen import examples
from massgen.console import put, tell

WIDTH = 79
"""Columns of a list: one less than the narrowest usual terminal has."""


def _names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    known = examples.names()
    return [CompletionItem(name, help=examples.header(name).purpose) for name in known if name.startswith(typed)]


@click.group()
def command() -> None:
    """The configuration templates that ship with massgen."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
def list_examples(as_json: bool) -> None:
    """List the templates: what each is for, what it costs, what it needs."""
    headers = {name: examples.header(name) for name in examples.names()}
    if as_json:
        rows = [{"name": name, **asdict(head)} for name, head in headers.items()]
        text = json.dumps([{"try" if key == "attempt" else key: row[key] for key in row} for row in rows], indent=2)
    else:
        hint = 'Ask one: massgen --config @examples/NAME "question". Make it yours: massgen examples copy NAME.'
        text = "\n\n".join([*(_entry(name, head) for name, head in headers.items()), textwrap.fill(hint, WIDTH)])
    put(text, "ask again")


def _entry(name: str, head: examples.Header) -> str:
    told = (head.purpose, f"cost: {head.cost}", f"needs: {head.needs}")
    lines = [
        textwrap.fill(each, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
        for each in told
    ]
    return "\n".join([name, *lines])


@command.command()
@click.argument("name", shell_complete=_names)
def show(name: str) -> None:
    """Print the template NAME."""
    put(examples.path(name).read_text(encoding="utf-8").rstrip("\n"), "ask again")


@command.command()
@click.argument("name", shell_complete=_names)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--force", is_flag=True, help="Replace what is there.")
def copy(name: str, file: Path | None, force: bool) -> None:
    """Copy the template NAME to FILE, or to NAME.yaml here."""
    source = examples.path(name)
    target = file or Path(source.name)
    target = target / source.name if target.is_dir() else target
    examples.save(source.read_text(encoding="utf-8"), target, replace=force)
    tell(f'massgen: wrote {target}; ask it: massgen --config {target} "question"')
