"""`massgen config migrate`: a configuration of the public MassGen becomes one of ours."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from massgen.console import put, tell
from massgen.errors import ConfigError, UsageError
from massgen.examples import save

if TYPE_CHECKING:
    from massgen.config.migration import Migrated


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="NEW", help="Write to this file, not stdout.")
@click.option("--force", is_flag=True, help="Replace NEW if it is there.")
def migrate(old: Path, output: Path | None, force: bool) -> None:
    """Make OLD, a configuration of the public MassGen, one of massgen's.

    OLD stays as it is. In the new one, what massgen has not is a comment that says why; each change is told on stderr.
    The exit code is 2 when something is left that has to be done by hand; that is told too.
    """
    from massgen.config.migration import migrate as migrated

    new = migrated(old)
    if output is None:
        put(new.text.removesuffix("\n"), f"{old} is as it was")
    elif output.exists() and old.samefile(output):
        raise UsageError("that would change the old one", where=str(output), fix="Name another file.")
    else:
        save(new.text, output, replace=force)
    name = str(output or "the new one")
    _tell(new, str(old), name)
    if new.problems:
        raise ConfigError([replace(each, file=each.file or name) for each in new.problems])


def _tell(new: "Migrated", old: str, name: str) -> None:
    for change in new.changes:
        tell(f"{old}:{change.line} {change.key}: {change.what}")
    count = f"{len(new.changes)} changes" if new.changes[1:] else "one change" if new.changes else "nothing to change"
    tell(f"massgen: {count}; " + ("this is left to do by hand:" if new.problems else f"{name} loads"))
