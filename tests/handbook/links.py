"""Links between pages and their headings, the list of pages in the navigation, and addresses outside, without a network."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.handbook.fences import Problem, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_CODE = re.compile(r"`[^`\n]*`")


def problems(page: Path) -> Iterator[Problem]:
    """Every link of `page` that leads nowhere."""
    for number, line in enumerate(prose(page.read_text("utf-8")).splitlines(), 1):
        for found in _LINK.findall(_CODE.sub("", line)):
            target = found[0] or found[1]
            if not re.match(r"[a-z]+:", target) and (what := _wrong(page, target)):
                yield Problem(f"{page}:{number}", "link", what, "Name a page or heading that is there.")


def _wrong(page: Path, target: str) -> str:
    place, _, part = target.partition("#")
    file = (page.parent / place).resolve() if place else page.resolve()
    if not file.is_relative_to(Path.cwd()) or not file.exists():
        return f"there is no {place}"
    if part and part not in anchors(file):
        return f"{file.relative_to(Path.cwd())} has no heading #{part}"
    return ""


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+?)(?:\s*\{ ?#([\w-]+) ?\})?$", prose(file.read_text("utf-8")), re.MULTILINE)
    return {own or anchor(text) for text, own in headings}


def anchor(heading: str) -> str:
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\- ]", "", heading.lower()).strip())


def unlisted() -> Iterator[Problem]:
    """Pages that the navigation has not, and those it has that are not there."""

    class Loader(yaml.SafeLoader):
        """Leaves `!!python/name:...` alone."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    listed = {*_listed(yaml.load(Path("mkdocs.yml").read_text("utf-8"), Loader)["nav"])}  # noqa: S506 - a SafeLoader
    there = {path.relative_to("handbook").as_posix() for path in Path("handbook").rglob("*.md")}
    for name in sorted(there - listed):
        yield Problem(f"handbook/{name}:1", "navigation", "no navigation leads to it", "Add it to nav in mkdocs.yml.")
    for name in sorted(name for name in listed - there if name.endswith(".md")):
        yield Problem(
            "mkdocs.yml:1",
            "navigation",
            f"there is no page {name}",
            "Remove it from nav, and add a redirect if it was moved.",
        )


def _listed(node: object) -> Iterator[str]:
    match node:
        case str(name):
            yield name
        case list():
            for each in node:
                yield from _listed(each)
        case dict():
            for each in node.values():
                yield from _listed(each)
        case _:
            pass
