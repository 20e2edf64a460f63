"""What installing massgen, without extras, brings into an empty environment."""

import shutil
import sysconfig
import venv
from pathlib import Path
from typing import Any

from benchmarks.peers import BENCH, ROOT, pip_install


def footprint() -> list[dict[str, Any]]:
    home = BENCH / "base"
    venv.create(home, with_pip=True, clear=True)
    library = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    packages, size = _contents(library)
    pip_install(home / "bin" / "python", str(ROOT))
    packages_after, size_after = _contents(library)
    shutil.rmtree(home)
    return [
        {"what": "`pip install massgen`: packages", "unit": "", "value": packages_after - packages},
        {"what": "`pip install massgen`: size", "unit": "MB", "value": (size_after - size) / 1e6},
    ]


def _contents(library: Path) -> tuple[int, int]:
    """Packages and bytes below `library`."""
    files = [path for path in library.rglob("*") if path.is_file()]
    return len(list(library.glob("*.dist-info"))), sum(path.stat().st_size for path in files)
