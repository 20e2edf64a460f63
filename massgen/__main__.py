"""The command `massgen`."""

import sys


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C is an answer, not a traceback."""
    try:
        from massgen.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
