"""`massgen --continue`: which session is meant, what is told of it, and what is asked before it goes on."""

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from massgen import paths, sessions
from massgen.commands.options import Options
from massgen.console import tell
from massgen.errors import ConfigError, Problem, UsageError
from massgen.streams import line

if TYPE_CHECKING:
    from massgen.conversation import Conversation

_REFERENCE = re.compile(r"\d{8}\S*|[./~]\S*|\S*[/\\]\S*")
"""What is meant as a session, whether there is one or not: an id's beginning, or a path. As a question it would cost money."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The session to go on with, `why` that one where the user named none, and the question's words."""

    session: Path
    why: str
    words: tuple[str, ...]


def root_of(options: Options) -> Path | None:
    """The folder that sessions are to be kept in, if one is named."""
    return Path(os.path.expanduser(options.session_dir)) if options.session_dir else None


def meant(options: Options) -> Meant:
    """What `--continue` and the words after it mean. Of a single text, what names a session is one, and what has several
    words is the next question."""
    given, words = options.resume or "", options.question
    root = root_of(options) or sessions.folder()
    if given == "-" and not words:  # what is read from stdin
        given, words = "", ("-",)
    if given and not words and not _names(given, root):
        if _REFERENCE.fullmatch(given) or not re.search(r"\s", given):
            words = ()
        else:
            given, words = "", (given,)
    if given:
        return Meant(_found(given, root), "", words)
    return Meant(*_latest(root), words)


def _names(given: str, root: Path) -> bool:
    try:
        sessions.find(given, root)
    except UsageError:
        return False
    return True


def _found(given: str, root: Path) -> Path:
    """The session `given`; one of the public MassGen is imported first."""
    from massgen.importing import foreign, imported

    path = Path(os.path.expanduser(given))
    if (given.startswith((".", "~")) or "/" in given or os.sep in given) and foreign(path):
        made = imported(path, root)
        for note in made.notes:
            tell(f"massgen: {note}")
        return made.folder
    try:
        return sessions.find(given, root)
    except UsageError as error:
        if re.search(r"\s|[/\\]", given) or not error.what.startswith("there is no session"):
            raise
        raise UsageError(
            error.what,
            where=error.where,
            fix=f"massgen sessions list tells them. To ask the latest one {given!r}: massgen --continue LATEST_ID {given!r}",
        ) from None


def _latest(root: Path) -> tuple[Path, str]:
    """The session that was last active of this folder, else of all, and why that one. What cannot be read, and may be later, is told."""
    from massgen.sessions.index import consult

    problems, folder = list[str](), paths.working_directory()
    here, of_all = consult(
        root, lambda index: (index.latest(folder) if folder else None, index.latest("")), problems.append
    )
    for problem in problems if of_all else ():
        tell(f"massgen: {problem}")
    if here:
        return root / here, ""
    found = root / of_all if of_all else sessions.find("", root)  # which says that there is none
    return found, ", the latest of all: none was asked in this folder"


def introduce(conversation: "Conversation", why: str) -> None:
    """Tell which session goes on and `why`, how far it has come, and what will be different."""
    from massgen.continuing import changes, last, recovered, set_aside
    from massgen.display.view import duration
    from massgen.sessions.digest import digest

    folder, state, facts = conversation.folder, conversation.state, conversation.facts
    if torn := set_aside(facts):
        tell(f"massgen: {torn}")
    if folder is None or state.asked is None:
        return
    short, name = digest(folder.name, facts), sessions.name(folder)
    ago = duration(int(max(0, time.time() - facts[-1].at)))
    asked = f"{short.turns} question{'s' * (short.turns != 1)}"
    parts = [f"session {folder.name}{f' ({line(name, 80)})' if name else ''}{why}", f"{asked}, the last {ago} ago"]
    lines = [", ".join([*parts, *([f"{short.price} so far"] if short.price else [])]), *last(state)]
    if different := changes(state, conversation.team.roster, conversation.source):
        lines += ["it goes on differently:", *(f"  {line(each, 200)}" for each in different)]
    if state.unfinished:
        lines.append(f"the last question has no answer yet and is finished first: {recovered(state)}")
    tell("massgen: " + "\n".join(lines))


def agree(conversation: "Conversation") -> None:
    """Have the user agree where this team would lose a part of the unfinished run; raises `UsageError` where nobody can."""
    from massgen.app import check_losses

    try:
        check_losses(conversation)
    except UsageError as error:
        if not terminal():
            raise
        tell(f"massgen: {error.what}")
        click.confirm("Go on with this team all the same?", abort=True, err=True)


def terminal() -> bool:
    """Whether somebody can be asked, and can read the question."""
    return all(each is not None and each.isatty() for each in (sys.stdin, sys.stderr))


def unusable(error: ConfigError, options: Options) -> ConfigError:
    """`error`, with what it means for a session that was to go on with its own configuration."""
    if options.config or options.quick or options.profile_name:
        return error
    told = "the session cannot go on with its own configuration; it is as it was"
    return ConfigError([*error.details, Problem(f"{told}. Mend that, or name another team: --config FILE")])
