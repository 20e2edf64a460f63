"""Feeds bytes that a fuzzer makes to all that reads a log: `pip install atheris`, then `python -m tests.fuzz_log [FOLDER] [-runs=N]`.

Not run by the tests: those mutate logs by Hypothesis (tests/test_log_fuzz.py). It starts from the golden logs, and stops at the
first exception that is none of massgen's own.
"""

import contextlib
import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from massgen.coordination import Rules
from massgen.errors import MassgenError
from massgen.log import read
from massgen.replay.verifying import verify
from massgen.resuming import memories, standing
from massgen.sessions.digest import digest

GOLDEN = Path(__file__).parent / "golden"


def look(log: Path, content: bytes) -> None:
    """Look at a log that holds `content` in every way. Raises what should not be raised."""
    log.write_bytes(content)
    with contextlib.suppress(MassgenError):
        facts = read(log)
        memories(standing(facts), facts)
        digest("fuzzed", facts)
        verify(facts, lambda asked: Rules())


def main() -> None:
    atheris: Any = importlib.import_module("atheris")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for golden in GOLDEN.glob("*.jsonl"):
            shutil.copy(golden, corpus)
        log = Path(folder) / "events.jsonl"

        def one(content: bytes) -> None:
            look(log, content)

        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *(sys.argv[1:] or ["-runs=100000"]), str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
