"""`massgen config`: checks a configuration, shows what it comes to, describes to editors what one may say."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from massgen import examples
from massgen.commands.migrate import migrate
from massgen.config.loading import Loaded, load
from massgen.console import put, tell
from massgen.errors import ConfigError, Exit, Problem, UsageError

_PROFILE = click.option(
    "--profile-name", "profile", default="", metavar="NAME", help="Which of its profiles; else MASSGEN_PROFILE says."
)


@click.group()
def command() -> None:
    """Check configurations and show what they come to."""


command.add_command(migrate)


@command.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead, with an object for each file.")
@_PROFILE
def validate(files: Sequence[str], as_json: bool, profile: str) -> int:
    """Tell everything that is wrong in each FILE (or @examples/NAME): where, and what was probably meant.

    The exit code is 2 when anything is."""
    found = {file: _problems(file, profile) for file in files}
    put(_as_json(found) if as_json else _as_text(found), "nothing was changed")
    return Exit.USAGE if any(found.values()) else Exit.ANSWER


@command.command()
@click.argument("file", default="")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON, with its files and its profile.")
@_PROFILE
def show(file: str, as_json: bool, profile: str) -> None:
    """Print what FILE (or @examples/NAME) comes to, as a configuration that loads.

    What it extends and the profile are merged; variables stand by name, and no key is shown. Settings that are not
    there have the defaults of the handbook. Without FILE: what a question without --config is answered with."""
    loaded = load(_path(file), profile=profile) if file else _own(profile)
    if as_json:
        facts = {"files": loaded.files, "profile": loaded.profile, "config": loaded.source}
        return put(json.dumps(facts, indent=2, ensure_ascii=False), "nothing was changed")
    profile = f", profile {loaded.profile}" if loaded.profile else ""
    tell(f"massgen: from {', which extends '.join(loaded.files)}{profile}")
    return put(_yaml(loaded.source), "nothing was changed")


@command.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of configurations, for editors.

    With the YAML language server, begin a file with: # yaml-language-server: $schema=massgen.schema.json"""
    from massgen.config.schema import schema

    put(json.dumps(schema(), indent=2, ensure_ascii=False), "nothing was changed")


def _problems(file: str, profile: str) -> tuple[Problem, ...]:
    try:
        load(_path(file), profile=profile)
    except ConfigError as error:
        return error.details
    except UsageError as error:
        return (Problem(f"{error.what}; {error.fix}"),)
    return ()


def _path(file: str) -> Path:
    return examples.find(file) or Path(file)


def _own(profile: str) -> Loaded:
    from massgen.app import resolve

    return resolve(None, profile)


def _as_text(found: dict[str, tuple[Problem, ...]]) -> str:
    lines = [[str(each) for each in problems] or [f"{file}: valid"] for file, problems in found.items()]
    return "\n".join(line for each in lines for line in each)


def _as_json(found: dict[str, tuple[Problem, ...]]) -> str:
    return json.dumps(
        [
            {"file": file, "valid": not problems, "problems": [_parts(each, file) for each in problems]}
            for file, problems in found.items()
        ],
        indent=2,
    )


def _parts(problem: Problem, file: str) -> dict[str, Any]:
    """`line` and `column` are null where the file as a whole is meant; `file` may be another one, that it extends."""
    place = {"file": problem.file or file, "line": problem.line or None, "column": problem.column or None}
    return {**place, "key": problem.key, "message": problem.message}


def _yaml(source: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(source, sort_keys=False, allow_unicode=True, width=100).rstrip()
