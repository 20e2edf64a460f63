"""`massgen completion SHELL`: the script that teaches a shell massgen's words, and the answers to that script's questions."""

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from massgen import builtins, examples, sessions
from massgen.console import put
from massgen.errors import MassgenError

VARIABLE = "_MASSGEN_COMPLETE"
"""Holds `SHELL_complete` when a shell asks."""
MAX_CONFIG = 1_000_000
"""Bytes of a configuration that are searched for its profiles."""
MAX_SESSIONS = 100
"""Sessions that are offered: the latest."""
Load: TypeAlias = Callable[[str], click.Command]
"""A command by its name; `ask` is the one that is called by none."""
Items: TypeAlias = Iterator[CompletionItem[str]]

_EPILOG = """
bash: write  eval "$(massgen completion bash)"  into ~/.bashrc

zsh: write  eval "$(massgen completion zsh)"  into ~/.zshrc, below compinit

fish: massgen completion fish > ~/.config/fish/completions/massgen.fish
"""


@click.command(epilog=_EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script by which SHELL completes massgen's commands, options, templates and files."""
    put(_shell(shell, click.Command("massgen")).source().rstrip(), "ask again")


def answer(instruction: str, load: Load, names: tuple[str, ...]) -> int:
    """Tell a shell what may stand where its cursor is; its question is in the environment. Nothing fits: no error."""
    name, _, asked = instruction.partition("_")
    if asked != "complete" or name not in _SHELLS:
        return 1
    shell = _shell(name, click.Command("massgen"))
    with suppress(click.ClickException, MassgenError, LookupError, ValueError):
        found = _completions(load, names, *shell.get_completion_args())
        click.echo("\n".join(shell.format_completion(item) for item in found))
    return 0


def _completions(load: Load, names: tuple[str, ...], args: list[str], typed: str) -> list[CompletionItem[str]]:
    """By the rule of `cli.run`: the first word may be a command, all else is for `ask`."""
    called = bool(args) and args[0] in names
    chosen = _taught(load(args[0] if called else "ask"))
    found = _shell("zsh", chosen).get_completions(args[1:] if called else args, typed)
    first = [] if args else [CompletionItem(name) for name in names if name.startswith(typed)]
    return [*first, *found]


def _taught(command: click.Command) -> click.Command:
    """A copy of `command` whose options know what to offer: those of one name mean the same in all commands."""
    taught = copy.copy(command)
    taught.params = [copy.copy(parameter) for parameter in command.params]
    for parameter in taught.params:
        if source := next((_SOURCES[name] for name in (parameter.name, *parameter.opts) if name in _SOURCES), None):
            parameter.type = _Offered(source)
    if isinstance(taught, click.Group):
        taught.commands = {name: _taught(inner) for name, inner in taught.commands.items()}
    return taught


class _Offered(click.ParamType[str]):
    """A value for which `source` knows what to offer."""

    name = "text"

    def __init__(self, source: Callable[[click.Context, str], Items]) -> None:
        self._source = source

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        del param  # every source serves one
        return [
            item for item in self._source(ctx, incomplete) if item.type != "plain" or item.value.startswith(incomplete)
        ]


def _files(context: click.Context, typed: str) -> Items:
    yield CompletionItem(typed, type="file")


def _configs(context: click.Context, typed: str) -> Items:
    for name in examples.names() if examples.PREFIX.startswith(typed[: len(examples.PREFIX)]) else ():
        yield CompletionItem(f"{examples.PREFIX}{name}", help=examples.header(name).purpose)
    if not typed.startswith("@"):
        yield from _files(context, typed)


def _types(context: click.Context, typed: str) -> Items:
    yield from (CompletionItem(kind) for kind in builtins.TABLE)  # massgen.config takes longer than a shell should wait


def _profiles(context: click.Context, typed: str) -> Items:
    """Of the configuration that the command line names; what it `extends` is not looked at."""
    import yaml

    given = str(context.params.get("config") or "")
    untyped: Any = yaml
    with (
        suppress(OSError, yaml.YAMLError, MassgenError, RecursionError),
        (examples.find(given) or Path(given)).open("rb") as file,
    ):
        match untyped.safe_load(file.read(MAX_CONFIG)):
            case {"profiles": {**profiles}}:
                yield from (CompletionItem(str(name)) for name in profiles)
            case _:
                pass


def _sessions(context: click.Context, typed: str) -> Items:
    """By id, each with its name; by name, where that is one word; by path."""
    if "/" in typed or typed.startswith((".", "~")):
        yield from _files(context, typed)
        return
    root, offered = Path(context.params.get("session_dir") or sessions.folder()), 0
    for each in sessions.ids(root):
        name = sessions.name(root / each)
        known = {each: name, **({name: each} if typed and len(name.split()) == 1 else {})}
        found = [CompletionItem(value, help=other) for value, other in known.items() if value.startswith(typed)]
        yield from found
        if (offered := offered + len(found)) >= MAX_SESSIONS:
            return


_SOURCES: Mapping[str, Callable[[click.Context, str], Items]] = MappingProxyType(
    {
        "config": _configs,
        "backend": _types,
        "provider": _types,
        "profile_name": _profiles,
        "context": _files,
        "output": _files,
        "template": _configs,
        "session": _sessions,
        "--continue": _sessions,
    }
)


class _Bash(BashComplete):
    """bash parts words at `@` and `=`, too, and replaces only what follows the last of them."""

    source_template = """\
%(complete_func)s() {
    local kind value files=
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            file) files=yes ;;
        esac
    done < <(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CWORD="$2" %(complete_var)s=bash_complete "$1")
    if [[ $files && ${#COMPREPLY[@]} -gt 0 ]]; then
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$2")
    elif [[ $files ]]; then
        compopt -o default
    fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def source(self) -> str:
        return self.source_template % self.source_vars()  # click's own would start a bash to learn its version

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        typed = "" if line[-1:].isspace() else words.pop()
        return words[1:], typed

    def format_completion(self, item: CompletionItem[Any]) -> str:
        _, typed = self.get_completion_args()
        value = typed.partition("=")[2] if typed.startswith("-") else typed
        replaced = os.environ["COMP_CWORD"]
        kept = len(value) - len(replaced) if value.endswith(replaced) else 0
        return f"{item.type},{item.value[kept:]}"


_SHELLS: Mapping[str, type[ShellComplete]] = MappingProxyType({"bash": _Bash, "zsh": ZshComplete, "fish": FishComplete})


def _shell(name: str, command: click.Command) -> ShellComplete:
    return _SHELLS[name](command, {"help_option_names": ["-h", "--help"]}, "massgen", VARIABLE)
