"""The command line: which command is meant, and what an error becomes. No logic and no heavy import lives here."""

import difflib
import importlib
import signal
from collections.abc import Sequence

import click

from massgen.console import tell
from massgen.errors import Exit, MassgenError, UsageError

COMMANDS = ("completion", "config", "examples", "init", "models")
"""Those beside asking; each is a module of `massgen.commands`."""


def command(name: str) -> click.Command:
    """The command `name`, `ask` or one of `COMMANDS`. Its module is imported only now."""
    return importlib.import_module(f"massgen.commands.{name}").command


def run(arguments: Sequence[str]) -> int:
    """Run the command line with `arguments` and return its exit code. Messages go to stderr."""
    name = arguments[0] if arguments else ""
    try:
        if name in COMMANDS:
            return command(name).main([*arguments[1:]], prog_name=f"massgen {name}", standalone_mode=False) or 0
        _refuse_mistyped_command(arguments)
        return command("ask").main([*arguments], prog_name="massgen", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except MassgenError as error:
        tell(f"massgen: {error}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        tell("massgen: interrupted")
        return Exit.INTERRUPTED


def _refuse_mistyped_command(arguments: Sequence[str]) -> None:
    """A question costs money; a mistyped command must not become one."""
    word = arguments[0] if arguments else ""
    if not word.startswith("-") and (close := difflib.get_close_matches(word, COMMANDS, 1, 0.8)):
        raise UsageError(
            f"no command is called {word!r}; did you mean {close[0]!r}?", fix="A question of one word: pipe it in."
        )
