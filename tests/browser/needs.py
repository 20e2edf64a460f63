"""What the browser gates need of the machine: `python -m tests.browser.needs` tells what is missing and how to install it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What keeps Chromium from talking to anyone by itself."""


def missing(modules: Path = MODULES, chromium: str = CHROMIUM) -> Iterator[str]:
    """What is not there, each with the command that installs it."""
    if not chromium:
        yield "no Chromium: apt-get install chromium (Debian), brew install chromium (macOS)"
    if not shutil.which("node"):
        yield "no Node.js: apt-get install nodejs npm (Debian), brew install node (macOS)"
    elif not modules.is_dir():
        yield "no axe-core, lighthouse, mermaid: npm ci --prefix tests/browser"


def message() -> str:
    return "\n".join(f"the browser gates cannot run: {each}" for each in missing())


if __name__ == "__main__":
    sys.exit(message() or 0)
