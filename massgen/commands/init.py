"""`massgen init`: a newcomer's first configuration, from what is found here and a few questions."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from massgen import examples, paths
from massgen.console import tell
from massgen.errors import MassgenError, UsageError

if TYPE_CHECKING:
    from massgen.backends.providers import Provider
    from massgen.discovery import Found

QUESTION = "What is the capital of France?"
"""The first question that is offered: even the smallest model has a chance."""
NAMES = {"ada": "one agent", "bob": "two agents", "cy": "three agents", "dee": "four agents", "eli": "five agents"}
"""The agents in order, and how many they are up to there."""
SHOWN = 10
"""Models of a server that are shown; any other can be typed."""
_FLAGS = "Say it on the command line: --backend, --model, --agents, --output, --question; or take the defaults: --yes."

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says; `asking`: the rest can be asked of a person at a terminal."""

    backend: str
    model: str
    base_url: str
    agents: int | None
    output: Path | None
    question: str
    force: bool
    asking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be written, and then asked (an empty question: nothing is)."""

    provider: "Provider"
    variable: str
    """Holds the provider's key; empty if it has none."""
    model: str
    base_url: str
    agents: int
    output: Path
    replace: bool
    question: str


@click.command()
@click.option("--backend", metavar="TYPE", default="", help="The provider: openai, claude, ollama, local, ...")
@click.option("--model", metavar="NAME", default="", help="The model's name there.")
@click.option("--base-url", metavar="URL", default="", help="Where the API is, if not at the provider's own address.")
@click.option("--agents", type=click.IntRange(1, len(NAMES)), help="How many agents the team has.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to write, if not to your own configuration.")
@click.option("--question", metavar="TEXT", default="", help="Ask this when the configuration is written.")
@click.option("--yes", is_flag=True, help="Take the defaults for all that is not said, and ask nothing.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.pass_context
def command(context: click.Context, /, *, yes: bool, **_: object) -> int:
    """Write a configuration for a team, and ask it a first question.

    massgen looks for providers whose key is set, for local servers that run and for the embedded model, and asks the
    rest. Without --output it writes your own configuration: that of all questions asked without --config. A key is never
    written.
    """
    from massgen.config.loading import environment

    said = {name: value for name, value in context.params.items() if name != "yes"}
    terminal = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    given = Given(**said, asking=terminal and not yes)
    if not (yes or given.asking or given.backend):
        raise UsageError("there is no terminal to ask on", fix=_FLAGS)
    env = environment()
    try:
        plan = _plan(given, env)
    except click.Abort as stop:
        if isinstance(stop.__context__, EOFError):
            raise UsageError("the input ended, and nothing is written", fix=_FLAGS) from None
        raise
    return _carry_out(plan, env)


# --- asking --------------------------------------------------------------------------------------------------------


def _plan(given: Given, env: Mapping[str, str]) -> Plan:
    """All that is to be known, before anything is written."""
    from massgen import discovery
    from massgen.backends.providers import key_name

    found = discovery.found(env)
    provider = discovery.named(given.backend) if given.backend else _provider(found, given)
    models = next((each.models for each in found if each.provider == provider), ())
    base_url = _base_url(provider, given, env)
    model = _model(provider, models, given)
    agents = given.agents or _asked(given, f"How many agents, 1 to {len(NAMES)}", "3", _count)
    output, replace = _output(given)
    question = given.question
    if given.asking and not question and not discovery.missing_key(provider, env):
        question = _asked(given, "First question (-: none)", QUESTION, lambda typed: "" if typed == "-" else typed)
    return Plan(
        provider=provider,
        variable=key_name(provider, None, env) or next(iter(provider.key_variables), ""),
        model=model,
        base_url=base_url,
        agents=agents,
        output=output,
        replace=replace,
        question=question,
    )


def _asked(given: Given, text: str, default: str, check: Callable[[str], T]) -> T:
    """What `check` makes of the reply, which is asked for until it raises no error; of `default` if nobody can be asked."""
    if not given.asking:
        return check(default)

    def checked(typed: str) -> T:
        try:
            return check(typed.strip())
        except MassgenError as error:
            raise click.UsageError(str(error)) from None

    return click.prompt(text, default or None, value_proc=checked, err=True)


def _provider(found: Sequence["Found"], given: Given) -> "Provider":
    from massgen.discovery import named

    def chosen(typed: str) -> "Provider":
        if typed.isdecimal() and 1 <= int(typed) <= len(found):
            return found[int(typed) - 1].provider
        if not typed:
            fix = "Set the key of a provider (OPENAI_API_KEY, say), start Ollama, or name a provider: --backend TYPE."
            raise UsageError("found nothing to think with: no key, no local server, no embedded model", fix=fix)
        return named(typed)

    if given.asking:
        tell("massgen writes a configuration: a team of agents, and the model they think with.\n")
        tell("Found here:" if found else "Found here: no provider's key, no local server, no embedded model.")
        for place, each in enumerate(found, 1):
            lists = f", {len(each.models)} models" if each.models else ""
            tell(f"  {place}  {each.provider.title} - {each.how}{lists}")
    return _asked(given, "Think with (a number, or any provider's type)", "1" if found else "", chosen)


def _base_url(provider: "Provider", given: Given, env: Mapping[str, str]) -> str:
    """The address that must be written: most are known by the provider, or by a variable."""
    from massgen.backends.providers import resolve_base_url

    if given.base_url or not provider.needs_base_url:
        return given.base_url
    if name := next((name for name in provider.url_variables if env.get(name)), ""):
        return f"${{{name}}}"
    return _asked(given, "Address (http://HOST:PORT/v1)", "", lambda typed: resolve_base_url(provider, typed, env))


def _model(provider: "Provider", models: Sequence[str], given: Given) -> str:
    from massgen.discovery import DEFAULT_MODELS
    from massgen.models import find

    def named(typed: str) -> str:
        if not typed and not provider.lists_models:
            raise UsageError(f"a backend of type {provider.type} needs a model", fix="Name one: --model NAME.")
        return find(typed).name if provider.type == "local" else typed

    default = find().name if provider.type == "local" else next(iter(models), DEFAULT_MODELS.get(provider.type, ""))
    if given.model or (provider.lists_models and not models):
        return named(given.model)
    if given.asking and models[1:]:
        tell(f"{provider.title} lists: {', '.join(models[:SHOWN])}{', ...' if models[SHOWN:] else ''}")
    return _asked(given, "Model", default, named)


def _count(typed: str) -> int:
    if typed.isdecimal() and 1 <= int(typed) <= len(NAMES):
        return int(typed)
    raise UsageError(f"{typed!r} is not a number from 1 to {len(NAMES)}")


def _output(given: Given) -> tuple[Path, bool]:
    """Where to write, and whether what is there may be replaced."""
    path = given.output or _asked(given, "Write to", str(_usual()), Path)
    while path.exists() and not given.force:
        if not given.asking:
            raise UsageError(
                "there is a file already", where=str(path), fix="Name another by --output, or give --force."
            )
        if click.confirm(f"{path} is there already. Replace it?", err=True):
            return path, True
        path = _asked(given, "Write to", "", Path)
    return Path(os.path.expanduser(path)), given.force


def _usual() -> Path:
    return paths.config_dir() / "config.yaml"


# --- writing, and the first question -------------------------------------------------------------------------------


def _carry_out(plan: Plan, env: Mapping[str, str]) -> int:
    import yaml

    from massgen import discovery
    from massgen.config.loading import parse

    text = "\n".join(_lines(plan)) + "\n"
    parse(yaml.safe_load(text), {plan.variable: "stands for the key", **env})  # what is written must load
    examples.save(text, plan.output, replace=plan.replace)
    tell(f"massgen: wrote {plan.output}")
    if missing := discovery.missing_key(plan.provider, env):
        page = plan.provider.key_page
        tell(f"massgen: set {missing} before you ask, in the environment or in a file .env; make a key at {page}")
    if plan.provider.lists_models and not plan.model:
        tell(f"massgen: {plan.provider.title} lists no model now: start it, and load one, before you ask")
    if not plan.question:
        tell(f"massgen: then ask: {_call(plan)}")
        return 0
    from massgen.commands import ask

    return ask.command.main(["--config", str(plan.output), "--", plan.question], "massgen", standalone_mode=False) or 0


def _call(plan: Plan) -> str:
    config = "" if plan.output == _usual() else f"--config {plan.output} "
    return f'massgen {config}"{plan.question or QUESTION}"'


def _lines(plan: Plan) -> Iterator[str]:
    """The configuration, each setting beneath the reason for it."""
    names = [*NAMES][: plan.agents]
    calls = f"{2 * plan.agents + 1} model calls a question, if nobody revises an answer"
    yield f"# Purpose: {NAMES[names[-1]]} on {'the ' if plan.provider.type == 'local' else ''}{plan.provider.title}."
    yield f"# Needs: {_needs(plan)}"
    yield f"# Cost: {'one model call a question' if plan.agents == 1 else calls}"
    yield f"# Try: {_call(plan)}"
    yield "# Written by `massgen init`. The handbook's page Configuration explains every setting there is."
    yield "agents:"
    yield "  # Its name in the live view and in the session."
    yield f"  - id: {names[0]}"
    yield f"    backend:{' &model' if names[1:] else ''}"
    yield from (f"      {line}" for line in _backend(plan))
    if names[1:]:
        yield "  # The others think with the same model. Different models err differently: any agent can have its own."
    for name in names[1:]:
        yield from (f"  - id: {name}", "    backend: *model")
    yield "timeout_settings:"
    yield "  # Seconds. When they are over, the best answer so far is printed."
    yield "  orchestrator_timeout_seconds: 1800"


def _backend(plan: Plan) -> Iterator[str]:
    import yaml

    def scalar(text: str) -> str:
        return str(yaml.safe_dump(text, width=10_000, allow_unicode=True)).splitlines()[0]

    yield f"# Which provider: {plan.provider.title}."
    yield f"type: {plan.provider.type}"
    if plan.base_url:
        yield from ("# Where its API is.", f"base_url: {scalar(plan.base_url)}")
    if plan.model:
        yield from (
            f"# Which there are: massgen models list --provider {plan.provider.type}",
            f"model: {scalar(plan.model)}",
        )
    else:
        yield "# No model: the first one that the server lists."
    if plan.variable:
        yield from (
            "# The key stays in the environment; this is only its name there.",
            f"api_key: ${{{plan.variable}}}",
        )


def _needs(plan: Plan) -> str:
    if plan.provider.type == "local":
        from massgen.models import find

        return f'pip install "massgen[local]" and, once, a download of {find(plan.model).size / 1e6:,.0f} MB.'
    if plan.variable:
        names = [plan.base_url[2:-1], plan.variable] if plan.base_url.startswith("$") else [plan.variable]
        return f"the variable{'s' if names[1:] else ''} {' and '.join(names)}, in the environment or in a file .env."
    return f"{plan.provider.title} running."
