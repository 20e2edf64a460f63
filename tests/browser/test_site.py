"""The built handbook, without a browser: its pages, what machines read of them, its links."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from tests.browser import diagrams
from tests.browser.site import ROOT, pages
from theme.hooks import DESCRIPTION

LYCHEE = Path(sys.executable).with_name("lychee")


class Outline(HTMLParser):
    """The title, description and first headings of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title = self.description = ""
        self.headings = 0
        self._in_title = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.headings += tag == "h1"
        self._in_title = tag == "title" and not self.title
        if tag == "meta" and named.get("name") == "description":
            self.description = named.get("content") or ""

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title, self._in_title = data.strip(), False


def outline(built: Path, page: str) -> Outline:
    return Outline((built / page.strip("/") / "index.html").read_text("utf-8"))


def in_nav(entries: list) -> list[str]:
    """The sources that the navigation names."""
    found: list[str] = []
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += in_nav(value) if isinstance(value, list) else [value]
    return found


def configuration() -> dict:
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    return yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), loader)  # noqa: S506 - a safe loader that skips !!python


def test_the_site_has_exactly_the_pages_of_the_navigation(built: Path) -> None:
    there = {path.relative_to(built).parent.as_posix() for path in built.rglob("index.html")}
    named = [
        re.sub(r"(^|/)index$", "", re.sub(r"\.(md|ipynb)$", "", name)) or "." for name in in_nav(configuration()["nav"])
    ]
    assert sorted(named) == sorted(there)
    assert {page.strip("/") or "." for page in pages()} == there


@pytest.mark.parametrize("page", pages())
def test_a_page_has_one_heading_of_the_first_level(built: Path, page: str) -> None:
    assert outline(built, page).headings == 1


def test_every_page_has_a_title_and_a_description_of_its_own(built: Path) -> None:
    outlines = {page: outline(built, page) for page in pages()}
    for page, found in outlines.items():
        assert found.title, page
        assert 20 <= len(found.description) <= DESCRIPTION + 20, (page, found.description)
    assert len({found.title for found in outlines.values()}) == len(outlines)
    assert len({found.description for found in outlines.values()}) == len(outlines)


def test_llms_txt_names_every_page_and_has_each_as_markdown(built: Path) -> None:
    named = re.findall(r"\]\(https://[^/)]+/massgen/([^)]*)\)", (built / "llms.txt").read_text("utf-8"))
    assert sorted(named) == sorted(f"{page.strip('/')}/index.md".lstrip("/") for page in pages())
    for name in named:
        assert (built / name).stat().st_size > 50, name


def test_every_diagram_is_drawn_and_no_drawing_is_left_over(capsys: pytest.CaptureFixture[str]) -> None:
    assert diagrams.main(["--check"]) == 0, capsys.readouterr().out


def test_every_link_within_the_site_leads_somewhere(built: Path) -> None:
    """Also those that the strict build does not see: in raw HTML, and to sections of generated pages."""
    base = configuration()["site_url"].rstrip("/")
    how = (
        "--offline",
        "--include-fragments",
        "--index-files",
        "index.html",
        "--no-progress",
        "--format",
        "json",
        "--root-dir",
        built,
    )
    ran = subprocess.run(
        [LYCHEE, *how, "--remap", f"{base} file://{built}", f"{built}/**/index.html"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)
    assert not found["error_map"], json.dumps(found["error_map"], indent=1)
    assert found["successful"] > 20 * len(pages())
