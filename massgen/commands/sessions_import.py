"""`massgen sessions import`: sessions that were recorded elsewhere."""

from pathlib import Path

import click

from massgen.commands.session_dir import SESSION_DIR
from massgen.console import put, tell
from massgen.errors import Exit, MassgenError


@click.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@SESSION_DIR
def import_sessions(paths: tuple[Path, ...], session_dir: Path) -> int:
    """Make the session at each PATH one of yours, and print its id.

    PATH is a session's folder from another machine, a JSON export, or a folder of the public MassGen: a session
    (.massgen/sessions/ID), its logs (.massgen/massgen_logs/log_TIME), or .massgen itself, which means the latest session in it.

    Nothing is changed there. What cannot be read is told, and the rest imported; what is here already is not imported again.
    The exit code is 2 if there is a PATH of which nothing can be imported.
    """
    from massgen.importing import imported

    code = Exit.ANSWER
    for path in paths:
        try:
            made = imported(path, session_dir)
        except MassgenError as error:
            tell(f"massgen: {error}")
            code = Exit.USAGE
            continue
        for note in made.notes:
            tell(f"massgen: {note}")
        put(made.folder.name, "massgen sessions list tells it")
    return code
