"""The command `massgen`."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C is an answer, not a traceback."""
    # A tenth of a command's time went into looking for cycles among freshly imported modules, and for pydantic's plug-ins.
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from massgen.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
