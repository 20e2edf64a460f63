"""Links between pages and their headings, the list of pages in the navigation, and addresses outside, without a network.

`python -m tests.handbook.links SITE` follows the links of a built site, also those of raw HTML and of generated pages."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

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

    Loader.add_multi_constructor("", _left_alone)
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


def _left_alone(_loader: object, _suffix: str, _node: object) -> None:
    """What `!!python/name:...` means here."""


def _listed(node: object) -> Iterator[str]:
    match node:
        case str(name):
            yield name
        case list():
            for each in cast("list[object]", node):
                yield from _listed(each)
        case dict():
            for each in cast("dict[str, object]", node).values():
                yield from _listed(each)
        case _:
            pass


LYCHEE = Path(sys.executable).with_name("lychee")
BASE = re.compile(r"^site_url: *(https://[^/]+)(/\S*?)/?$", re.MULTILINE)


def followed(site: Path) -> dict[str, Any]:
    """What lychee, which is offline, says of every link of the built `site`: its report."""
    host, place = BASE.findall(Path("mkdocs.yml").read_text("utf-8"))[0]
    own = ["--remap", f"{host}{place} file://{site}", "--remap", f"file://{site}{place}(/|$) file://{site}/"]
    how = ["--offline", "--include-fragments", "--index-files", "index.html", "--no-progress", "--format", "json"]
    command = [LYCHEE, *how, "--root-dir", site, *own, f"{site}/**/*.html", f"{site}/llms.txt"]
    ran = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    if not ran.stdout:
        raise RuntimeError(f"lychee: {ran.stderr}")
    return json.loads(ran.stdout)


def dead(report: dict[str, Any], site: Path) -> Iterator[Problem]:
    """Links that lead nowhere, each with the page that it stands on."""
    for page, links in sorted(report["error_map"].items()):
        for link in links:
            target = link["url"].removeprefix(f"file://{site}")
            yield Problem(
                _source(site, Path(page), target), "link", f"{target} is not there", "Name a page or heading that is."
            )


def _source(site: Path, page: Path, target: str) -> str:
    """The place in the handbook that the link on `page` comes from; the theme, where it is none of a page's own."""
    place = page.resolve().relative_to(site.resolve()).parent
    named = [Path("handbook", place, "index.md"), *(Path(f"handbook/{place}{kind}") for kind in (".md", ".ipynb"))]
    source = next((each for each in named if each.is_file() and page.name == "index.html"), None)
    if not source:
        return f"theme:1 ({page.name})"
    end = re.split("[/#]", target.removesuffix("/").removesuffix("/index.html"))[-1]
    lines = source.read_text("utf-8").splitlines()
    return f"{source}:{next((number for number, line in enumerate(lines, 1) if end in line), 1)}"


def main(folder: str) -> int:
    site = Path(folder).resolve()
    problems = dict.fromkeys(dead(followed(site), site))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
