"""The command `massgen`."""

import gc
import os
import signal
import sys
from contextlib import suppress

from massgen.errors import Exit


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C is an answer, not a traceback."""
    # A tenth of a command's time went into looking for cycles among freshly imported modules, and for pydantic's plug-ins.
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    sys.unraisablehook = _unraisable
    code: int = Exit.INTERRUPTED
    with suppress(KeyboardInterrupt):
        code = _run()
    if code == Exit.INTERRUPTED:
        _leave()
    sys.exit(code)


def _run() -> int:
    from massgen.cli import run

    return run(sys.argv[1:])


def _unraisable(told: "sys.UnraisableHookArgs", /) -> None:
    """Ctrl-C may come where Python cannot raise, as within an import: it is Ctrl-C nevertheless."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        _leave()
    sys.__unraisablehook__(told)


def _leave() -> None:
    """End now: whoever presses Ctrl-C again while the interpreter tidies up must not see how it does that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    os._exit(Exit.INTERRUPTED)


if __name__ == "__main__":
    main()
