"""What a line of the interactive mode means: a question, or one of its commands."""

import difflib
from dataclasses import dataclass

from massgen.errors import UsageError
from massgen.streams import line


@dataclass(frozen=True, slots=True)
class Command:
    """One of `COMMANDS`, and what stands behind it."""

    name: str
    argument: str = ""


COMMANDS = {
    "help": ("", "what can be written here"),
    "retry": ("", "finish the question that was interrupted, or ask it again"),
    "status": ("", "the session, its questions, what they cost"),
    "sessions": ("", "the latest sessions"),
    "export": ("[FILE]", "write this conversation to a file; its ending says how: .md, .html, .json"),
    "config": ("", "the team and its settings"),
    "quit": ("", "leave, as Ctrl-D does, and Ctrl-C twice"),
}
"""Name -> what it takes, what it does."""

_LEAVE = ("quit", "exit")
"""Words that nobody means as a question."""


def parse(text: str) -> Command | str:
    """The command, or the question, in `text`; empty if neither. Raises `UsageError` for what begins as a command and is
    none: sent as a question it would cost money."""
    text = text.strip()
    if text in _LEAVE:
        return Command("quit")
    if text.startswith("//"):
        return text[1:]
    if not text.startswith("/"):
        return text
    name, _, argument = text[1:].partition(" ")
    if name in _LEAVE:
        name = "quit"
    if name not in COMMANDS:
        raise UsageError(f"no command is called {line('/' + name, 40)!r}{_nearest(name)}", fix=_SLASH)
    if argument and not COMMANDS[name][0]:
        raise UsageError(f"/{name} takes nothing behind it: {line(argument, 40)!r}", fix=_SLASH)
    return Command(name, argument.strip())


_SLASH = "Nothing was sent. A question that begins with a slash: begin it with two."


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, 1, 0.5) or [
        each for each in COMMANDS if name and each.startswith(name)
    ]
    return f"; did you mean '/{close[0]}'?" if close else "; /help tells them"


def usage() -> str:
    """What `/help` tells."""
    rows = [(f"/{name} {takes}".rstrip(), does) for name, (takes, does) in COMMANDS.items()]
    rows += [
        ("//TEXT", "ask something that begins with a slash"),
        ("Enter", "sends; Alt-Enter, or a \\ at the end, begins another line; what is pasted stays one question"),
        ("Ctrl-C", "clears the line; while the team works: interrupts it"),
        ("Up, Ctrl-R", "earlier questions; search in them"),
    ]
    return "\n".join(f"  {what:<15} {does}" for what, does in rows)
