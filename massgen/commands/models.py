"""`massgen models`: the models massgen can run by itself, and those of each provider."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from massgen.console import fetching, put
from massgen.errors import MassgenError, UsageError

if TYPE_CHECKING:
    from massgen.backends.providers import Provider
    from massgen.discovery import Model

SERVER_SECONDS = 5.0
"""A server that has to wake up may take so long to list its models."""
SOURCES = 3
"""Pages named beneath a list; `--json` names that of each model."""


def _names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem[str]]:
    from massgen.models import catalogue

    return [CompletionItem(each.name, help=each.title) for each in catalogue() if each.name.startswith(typed)]


@click.group()
def command() -> None:
    """The models massgen can run by itself, and those of each provider."""


@command.command("list")
@click.option("--provider", metavar="TYPE", help="List the models of this provider: openai, claude, ollama, ...")
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
def list_models(provider: str | None, as_json: bool) -> None:
    """List the models massgen can run by itself, or with --provider those of a provider.

    A local server is asked what it has loaded. The models of all others, with their context, longest reply and price,
    are those of the price list that comes with litellm.
    """
    rows, text = _catalogue() if provider in (None, "local") else _of(provider)
    put(json.dumps(rows, indent=2) if as_json else "\n".join(text), "ask again")


def _of(provider: str) -> tuple[list[dict[str, Any]], list[str]]:
    from massgen.discovery import named

    row = named(provider)
    return _served(row) if row.lists_models else _priced(row)


def _catalogue() -> tuple[list[dict[str, Any]], list[str]]:
    from massgen.models import cached, catalogue, find

    default, rows, lines = find(), list[dict[str, Any]](), list[str]()
    for model in catalogue():
        here = cached(model) is not None
        rows.append(
            {"name": model.name, "parameters": model.parameters, "licence": model.licence, "context": model.context}
            | {"bytes": model.size, "here": here, "default": model == default}
        )
        state = "here" if here else f"{model.size / 1e6:,.0f} MB to fetch"
        mark = " (default)" if model == default else ""
        lines.append(f"{model.name:20} {model.parameters:>5}  {model.licence:10}  {state}{mark}")
    return rows, [*lines, "", "These run inside massgen. Those of a provider: massgen models list --provider openai"]


def _served(row: "Provider") -> tuple[list[dict[str, Any]], list[str]]:
    from massgen.config.loading import environment
    from massgen.discovery import served

    url, names = served(row, environment(), SERVER_SECONDS)
    rows = [{"name": name, "source": url} for name in names]
    return rows, [*names, "", f"Source: {row.title} at {url}" if names else f"{row.title} at {url} lists no models."]


def _priced(row: "Provider") -> tuple[list[dict[str, Any]], list[str]]:
    from datetime import UTC, datetime

    from massgen.discovery import price_list, price_list_name

    if not row.key_variables and row.type != "litellm":
        raise UsageError(
            f"a backend of type {row.type} is any server: only the one that is meant knows its models",
            fix="Of a provider or a local server: massgen models list --provider openai",
        )
    models = price_list(row, datetime.now(UTC).date())
    if not models:
        raise MassgenError(
            f"the {price_list_name()} has no models of {row.title} ({row.type})",
            fix=f"Its own pages have: {row.key_page}",
        )
    rows = [{**asdict(each), "list": price_list_name()} for each in models]
    return rows, [*_table(models), "", *_sources(models)]


def _table(models: Sequence["Model"]) -> Iterator[str]:
    wide = max(len(each.name) for each in models)
    yield f"{'model':{wide}}  {'context':>9}  {'reply':>9}  {'$ in':>6}  {'$ out':>6}"
    for each in models:
        ends = f"  until {each.ends}" if each.ends else ""
        tokens = f"{_number(each.context):>9}  {_number(each.longest_reply):>9}"
        yield f"{each.name:{wide}}  {tokens}  {_number(each.input_price):>6}  {_number(each.output_price):>6}{ends}"


def _number(value: float | None) -> str:
    match value:
        case None:
            return "?"
        case int():
            return f"{value:,}"
        case _:
            return f"{value:g}"


def _sources(models: Sequence["Model"]) -> Iterator[str]:
    from massgen.discovery import price_list_name

    pages = sorted({each.source for each in models if each.source})
    yield "Context and longest reply in tokens, prices in US dollars for a million tokens."
    yield f"Source: {price_list_name()}{', from' if pages else ''}"
    yield from (f"  {page}" for page in pages[:SOURCES])
    if pages[SOURCES:]:
        yield f"  and {len(pages) - SOURCES} more pages: --json names that of each model"


@command.command()
@click.argument("name", default="", shell_complete=_names)
def pull(name: str) -> None:
    """Fetch the model NAME and check it."""
    from massgen import models as catalogue

    model = catalogue.find(name)
    show = fetching(sys.stderr)
    click.echo(catalogue.pull(model, lambda done, total: show(model.name, done, total)))


@command.command("path")
@click.argument("name", default="", shell_complete=_names)
def show_path(name: str) -> None:
    """Print where the file of the model NAME is."""
    from massgen.models import cached, find

    model = find(name)
    if (file := cached(model)) is None:
        raise UsageError(f"{model.name} is not here", fix=f"Fetch it: massgen models pull {model.name}")
    click.echo(file)
