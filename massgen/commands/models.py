"""`massgen models`: the models massgen can run by itself."""

import sys

import click

from massgen.console import fetching
from massgen.errors import UsageError


@click.group()
def command() -> None:
    """The models massgen can run by itself."""


@command.command("list")
def list_models() -> None:
    """List the catalogue, and what is here already."""
    from massgen.models import cached, catalogue, find

    default = find()
    for model in catalogue():
        state = "here" if cached(model) else f"{model.size / 1e6:,.0f} MB to fetch"
        mark = " (default)" if model == default else ""
        click.echo(f"{model.name:20} {model.parameters:>5}  {model.licence:10}  {state}{mark}")


@command.command()
@click.argument("name", default="")
def pull(name: str) -> None:
    """Fetch the model NAME and check it."""
    from massgen import models as catalogue

    model = catalogue.find(name)
    show = fetching(sys.stderr)
    click.echo(catalogue.pull(model, lambda done, total: show(model.name, done, total)))


@command.command("path")
@click.argument("name", default="")
def show_path(name: str) -> None:
    """Print where the file of the model NAME is."""
    from massgen.models import cached, find

    model = find(name)
    if (file := cached(model)) is None:
        raise UsageError(f"{model.name} is not here", fix=f"Fetch it: massgen models pull {model.name}")
    click.echo(file)
