"""Validation alone, in a process that has everything loaded: `validate_ms` of CPU for one load of the file in argv."""

import json
import sys
import time
from pathlib import Path

from massgen.config.loading import load

TIMES = 30


def main(path: Path) -> None:
    load(path)
    began = time.process_time()
    for _ in range(TIMES):
        load(path)
    print(json.dumps({"validate_ms": (time.process_time() - began) * 1e3 / TIMES}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
