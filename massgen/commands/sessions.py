"""`massgen sessions`: find, show, name and delete what was asked before."""

import json
import math
import os
import re
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from massgen import sessions
from massgen.commands.session_dir import SESSION_DIR
from massgen.commands.sessions_export import export
from massgen.commands.sessions_import import import_sessions
from massgen.commands.sessions_row import Filter, Row, Until, cut, latest
from massgen.console import put, save, tell
from massgen.errors import MassgenError, UsageError
from massgen.sessions.index import Found, Index, consult, scan

MAX_NAME = 80
"""Characters of a session's name."""
_SECONDS = {"h": 3600, "d": 86400, "w": 604800}


def _absolute(context: click.Context, option: click.Parameter, value: str) -> str:
    return os.path.realpath(value) if value else ""  # as the system tells a process where it works


def _dollars(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("'nan' is no number")
    return value


_SESSION = click.argument("session")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
_JSON_LINES = click.option("--json", "as_json", is_flag=True, help="Print its facts as JSON lines.")
_YES = click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
_DATES = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")
_LIMIT = click.option("-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")


@click.group()
def command() -> None:
    """What was asked before: find it, show it, name it, share it, import it, delete it.

    SESSION is an id, the beginning of one, a name, or the path of a session's folder.
    """


command.add_command(export)
command.add_command(import_sessions)


@command.command("list")
@click.option("--text", default="", metavar="TEXT", help="Only with this in the question or the name.")
@click.option("--agent", default="", metavar="ID", help="Only with this agent.")
@click.option("--model", default="", metavar="NAME", help="Only with a model whose name has this in it.")
@click.option(
    "--status",
    type=click.Choice(["answered", "no-answer", "interrupted", "running"]),
    default=None,
    help="Only of this.",
)
@click.option(
    "--since",
    type=click.DateTime(_DATES),
    metavar="DATE",
    help="Only from this day or time on, as 2026-11-21 or 2026-11-21T09:30.",
)
@click.option("--until", type=Until(_DATES), metavar="DATE", help="Only until the end of this day, or this time.")
@click.option(
    "--min-cost",
    type=click.FloatRange(0),
    callback=_dollars,
    metavar="DOLLARS",
    help="Only that cost so much or more.",
)
@click.option("--template", default="", metavar="NAME", help="Only by this configuration: a template or a file.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False),
    default="",
    callback=_absolute,
    help="Only asked in this working directory, or below it.",
)
@_LIMIT
@_JSON
@SESSION_DIR
def list_sessions(limit: int, as_json: bool, session_dir: Path, **given: Any) -> None:
    """List sessions, the latest first."""
    root, wanted = session_dir, Filter(**given)
    known = consult(root, Index.sessions, _warn)
    found = latest(each for each in known if wanted.fits(each, root / each.id))
    shown = [Row.of(root, each) for each in found[:limit]]
    if as_json:
        put(json.dumps([each.row for each in shown], ensure_ascii=False, indent=2), "ask again")
    elif found:
        put("\n\n".join(each.entry for each in shown), "ask again")
    else:
        tell(f"massgen: there is no {'such session' if known else 'session yet'}")
    _tell_more(len(found) - limit)


@command.command()
@click.argument("words", nargs=-1, required=True)
@_LIMIT
@_JSON
@SESSION_DIR
def search(words: tuple[str, ...], limit: int, as_json: bool, session_dir: Path) -> None:
    """Search questions, answers and the reasons of votes for WORDS.

    A text is found that holds all of them, whatever their case and accents. "words in quotes" must follow each other, and
    a beginning* stands for all words that begin so.
    """
    root = session_dir
    found, count = consult(root, lambda index: index.search(" ".join(words), limit), _warn)
    if as_json:
        rows = [
            {**Row.of(root, each.session).row, "count": each.count, "texts": [asdict(text) for text in each.texts]}
            for each in found
        ]
        put(json.dumps(rows, ensure_ascii=False, indent=2), "ask again")
    elif found:
        put("\n\n".join(_hits(Row.of(root, each.session), each) for each in found), "ask again")
    else:
        tell("massgen: no session has that")
    _tell_more(count - limit)


@command.command()
@click.argument("session", default="")
@_JSON_LINES
@SESSION_DIR
def show(session: str, as_json: bool, session_dir: Path) -> None:
    """Print all of SESSION: question, team, uses of tools, answers, votes with their reasons, final answer, cost.

    Without SESSION, the latest.
    """
    from massgen.commands.sessions_show import shown
    from massgen.log import line, read

    folder = sessions.find(session, session_dir)
    if as_json and not session:
        tell(f"massgen: session {folder.name}")
    facts = read(folder / sessions.LOG_NAME)
    put("\n".join(map(line, facts)) if as_json else shown(facts, folder, sessions.name(folder)), "ask again")


@command.command()
@_SESSION
@click.argument("name")
@SESSION_DIR
def name(session: str, name: str, session_dir: Path) -> None:
    """Call SESSION by a NAME, which then can stand for its id. An empty one takes the name away."""
    _check_meant(session)
    folder = sessions.find(session, session_dir)
    if name:
        _check_name(name, folder)
    try:
        save(str(folder / sessions.NAME), name) if name else (folder / sessions.NAME).unlink(missing_ok=True)
    except OSError as error:
        raise MassgenError(f"cannot be named: {error.strerror or error}", where=str(folder)) from None


def _check_meant(*references: str) -> None:
    """Raises `UsageError` for the value of a variable that was not set, where something is changed."""
    if "" in references:
        raise UsageError("a session's id is empty: it would mean the latest", fix="Name the session.")


def _check_name(name: str, folder: Path) -> None:
    """Raises `UsageError` for what would not be found again, or could be something else."""
    from massgen.streams import line

    if line(name, MAX_NAME) != name or re.search(r"[/\\]", name) or name.startswith((".", "-")):
        raise UsageError(
            f"{line(name, MAX_NAME)!r} cannot be a name",
            fix=f"One line of at most {MAX_NAME} characters, without slashes, that begins with neither a dot nor a hyphen.",
        )
    for each in sessions.ids(folder.parent):
        if each.startswith(name) or (each != folder.name and sessions.name(folder.parent / each) == name):
            raise UsageError(f"{name!r} means session {each} already", fix="Choose another name.")


@command.command()
@click.argument("session", nargs=-1, required=True)
@_YES
@SESSION_DIR
def delete(session: tuple[str, ...], yes: bool, session_dir: Path) -> None:
    """Delete each SESSION, for good. Asks on a terminal; elsewhere --yes must say so."""
    _check_meant(*session)
    root = session_dir
    folders = [*dict.fromkeys(sessions.find(each, root) for each in session)]
    for stray in (each for each in folders if each.parent.resolve() != root.resolve()):
        fix = f"Of a session that is kept elsewhere, say so: --session-dir {shlex.quote(str(stray.parent))}"
        raise UsageError("this is no session's own folder, and is not deleted", where=str(stray), fix=fix)
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise UsageError("nobody can be asked whether to delete", fix="Say so: --yes")
    known = {} if yes else _questions(root)
    _delete([each for each in folders if yes or click.confirm(f"Delete {_described(each, known)}?", err=True)], root)


@command.command()
@click.option("--older-than", required=True, metavar="AGE", help="As 12h, 30d or 8w: since the last fact was recorded.")
@_YES
@SESSION_DIR
def prune(older_than: str, yes: bool, session_dir: Path) -> None:
    """Delete the sessions in which nothing happened for a time. Without --yes it only says which.

    A session that is running, or that has a name, stays.
    """
    age = re.fullmatch(r"(\d{1,6})([hdw])", older_than)
    if not age:
        raise UsageError(f"--older-than {older_than!r} is no age", fix="A number and h, d or w, as 30d.")
    root, before = session_dir, time.time() - int(age[1]) * _SECONDS[age[2]]
    old = [each for each, (_, changed) in sorted(scan(root, _warn).items()) if changed / 1e9 < before]
    folders = [root / each for each in old if not sessions.name(root / each) and not sessions.running(root / each)]
    if not folders:
        tell("massgen: no session is that old")
    elif yes:
        _delete(folders, root)
    else:
        known = _questions(root)
        put("\n".join(f"would delete {_described(each, known)}" for each in folders), "ask again")
        tell("massgen: nothing was deleted; --yes deletes them")


def _delete(folders: list[Path], root: Path) -> None:
    """The sessions, and what the index knows of them."""
    try:
        for folder in folders:
            sessions.delete(folder, root)
            tell(f"massgen: deleted {folder}")
    finally:
        if folders:
            consult(root, Index.compact)


def _questions(root: Path) -> dict[str, str]:
    return {each.id: each.question for each in consult(root, Index.sessions)}


def _described(folder: Path, questions: dict[str, str]) -> str:
    """Its id, its name and its question."""
    question = cut(questions.get(folder.name, "which cannot be read"))
    return ", ".join(filter(None, [f"session {folder.name}", sessions.name(folder), question]))


def _hits(known: Row, found: Found) -> str:
    """The session and the texts in which the words are."""
    lines = [f"  {each.kind}{f' by {each.agent}' if each.agent else ''}: {each.body}" for each in found.texts]
    more = found.count - len(found.texts)
    return "\n".join([known.title, *lines, *([f"  and {more} more"] if more else [])])


def _warn(problem: str) -> None:
    tell(f"massgen: {problem}")


def _tell_more(count: int) -> None:
    if count > 0:
        tell(f"massgen: and {count} more; --limit shows them")
