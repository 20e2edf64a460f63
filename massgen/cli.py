"""The command line: which command is meant, and what an error becomes. No logic and no heavy import lives here."""

import difflib
import importlib
import os
import signal
from collections.abc import Callable, Sequence

import click

from massgen.console import defect, tell
from massgen.errors import Exit, MassgenError, UsageError

COMMANDS = (
    "completion",
    "config",
    "examples",
    "init",
    "limits",
    "mcp",
    "models",
    "plan",
    "replay",
    "sessions",
    "verify",
)
"""Those beside asking; each is a module of `massgen.commands`."""


def command(name: str) -> click.Command:
    """The command `name`, `ask` or one of `COMMANDS`. Its module is imported only now."""
    return importlib.import_module(f"massgen.commands.{name}").command


def run(arguments: Sequence[str]) -> int:
    """Run the command line with `arguments` and return its exit code. Messages go to stderr."""
    try:
        return _run(arguments)
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
    except Exception as error:  # noqa: BLE001 - the command's edge: a defect is told as one, and not as a traceback
        tell(defect(error, _redactor(), in_full=bool(os.environ.get("MASSGEN_DEBUG"))))
        return Exit.NO_ANSWER


def _run(arguments: Sequence[str]) -> int:
    name = arguments[0] if arguments else ""
    if instruction := os.environ.get("_MASSGEN_COMPLETE"):
        from massgen.commands.completion import answer

        return answer(instruction, command, COMMANDS)
    if name in COMMANDS:
        return _call(name, f"massgen {name}", arguments[1:])
    _refuse_mistyped_command(arguments)
    return _call("ask", "massgen", arguments)


def _call(name: str, shown: str, arguments: Sequence[str]) -> int:
    helped = ["-h", "--help"]
    return command(name).main([*arguments], shown, standalone_mode=False, help_option_names=helped) or 0


def _refuse_mistyped_command(arguments: Sequence[str]) -> None:
    """A question costs money; a mistyped command must not become one."""
    word = arguments[0] if arguments else ""
    if not word.startswith("-") and (close := difflib.get_close_matches(word, COMMANDS, 1, 0.8)):
        raise UsageError(
            f"no command is called {word!r}; did you mean {close[0]!r}?", fix="A question of one word: pipe it in."
        )


def _redactor() -> Callable[[str], str]:
    """Takes out the values of the variables that hold keys."""
    import re

    from massgen.log import redactor

    return redactor(
        [value for name, value in os.environ.items() if re.search(r"KEY|TOKEN|SECRET|PASSWORD", name) and value]
    )
