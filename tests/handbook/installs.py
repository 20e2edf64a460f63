"""How pages install massgen: from the checkout, with extras that there are. On the package index the name belongs to another."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.handbook.fences import Fence, Problem, fences

_INSTALL = re.compile(r"\b(?:pip3?|pipx|uv(?: pip| tool)?) (?:install|add|run) ([^`|;&#\n]+)")
_NAMED = re.compile(r"[\"']?(massgen|\.)(?:\[([\w,-]+)\])?(?:[<>=~!].*)?[\"']?")


def problems(page: Path) -> Iterator[Problem]:
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        for name, extras in _asked_for(line):
            if name != ".":
                what = "on the package index this name belongs to another project"
                yield Problem(f"{page}:{number}", "install", what, 'Install the checkout: pip install ".[local]"')
            for extra in {*extras.split(",")} - {"", *_extras()}:
                what = f"massgen has no extra {extra}"
                yield Problem(f"{page}:{number}", "install", what, f"It has {', '.join(_extras())}.")


def installing(page: Path) -> list[Fence]:
    """The `bash` fences of `page` that install massgen; tests/test_install_lines.py runs them."""
    return [fence for fence in fences(page) if fence.language == "bash" and [*_asked_for(fence.body)]]


def _asked_for(text: str) -> Iterator[tuple[str, str]]:
    """What is installed of massgen: (`.` or `massgen`, its extras)."""
    for words in _INSTALL.findall(text):
        for word in words.split():
            if found := _NAMED.fullmatch(word):
                yield found[1], found[2] or ""


def _extras() -> list[str]:
    return [*tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]]
