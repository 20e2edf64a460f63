"""Diagrams: read by mermaid itself, in Chromium, and drawn before the site is built."""

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.diagrams import broken, diagrams, draw, undrawn
from tests.browser.site import ROOT
from tests.handbook.fences import fences
from theme.hooks import DIAGRAMS, digest

TEXT = re.compile(r"<[^>]*>|\s+")


@pytest.fixture(scope="module")
def page(browser: Browser) -> Generator[Page]:
    with browser.new_page() as page:
        yield page


def test_mermaid_reads_every_diagram_and_draws_what_is_committed(page: Page) -> None:
    wanted = diagrams()
    assert [*broken(page, wanted)] == []
    drawn = draw(page, {name: fence.body for name, fence in wanted.items()})
    committed = {name: (DIAGRAMS / f"{name}.svg").read_text("utf-8") for name in wanted}
    assert {name: TEXT.sub("", svg) for name, svg in drawn.items()} == {
        name: TEXT.sub("", svg) for name, svg in committed.items()
    }


def test_the_readme_s_diagrams_are_read_too(page: Page) -> None:
    found = [fence for fence in fences(ROOT / "README.md") if fence.language == "mermaid"]
    assert [*broken(page, {digest(fence.body): fence for fence in found})] == []


def test_a_diagram_that_cannot_be_read_is_told_with_its_place_and_remedy(page: Page, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# A page\n\n```mermaid\nstateDiagram-v2\n  a -->\n```\n")
    (problem,) = broken(page, diagrams(tmp_path))
    assert problem.where == f"{tmp_path / 'page.md'}:3"
    assert "Parse error on line 2" in problem.what
    assert "make docs-update" in problem.fix


def test_a_label_that_covers_another_is_told(page: Page, tmp_path: Path) -> None:
    loop = "Voting --> Voting: a new answer voids the votes that did not see it"
    on = "Voting --> Presenting: every vote counts (consensus), or the rest cannot change the winner (decided)"
    (tmp_path / "page.md").write_text(
        f"```mermaid\nstateDiagram-v2\n  {loop}\n  {on}\n  Presenting --> First: back\n```\n"
    )
    assert [problem.what for problem in broken(page, diagrams(tmp_path))] == ["one label covers another"]


def test_a_missing_drawing_and_one_that_no_page_has_are_told(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```mermaid\nflowchart LR\n  a --> b\n```\n")
    (tmp_path / "0123.svg").write_text("<svg/>")
    told = [str(problem) for problem in undrawn(diagrams(tmp_path), tmp_path)]
    assert told == [
        f"{tmp_path / 'page.md'}:1: diagram: it is not drawn\n  make docs-update",
        f"{tmp_path / '0123.svg'}:1: diagram: no page has it\n  make docs-update",
    ]


def test_a_drawing_takes_its_colours_from_the_page(page: Page) -> None:
    (svg,) = draw(page, {"d": "flowchart LR\n  a --> b\n"}).values()
    assert "var(--ink)" in svg
    assert not re.search(r"#0[1-5]0[1-5]0[1-5]", svg)
