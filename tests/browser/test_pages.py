"""Every page in Chromium: accessible, quiet, light, still, and of this origin alone."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.browser.diagrams import draw
from tests.browser.site import Site, pages, source

AXE = (Path(__file__).parent / "node_modules/axe-core/axe.min.js").read_text("utf-8")
WIDTHS = {375: 800, 1280: 900}
"""Width of the window -> height."""
HEAVIEST = 100_000
"""Bytes of a page, compressed, with everything it loads by itself: fonts, styles, scripts."""

SHIFTS = """
window.shifted = 0
new PerformanceObserver(list => { for (const each of list.getEntries()) window.shifted += each.value })
  .observe({ type: "layout-shift", buffered: true })
"""
RUN_AXE = """async rules => (await axe.run({ resultTypes: ["violations"], ...(rules && { runOnly: rules }) })).violations
  .flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`))"""
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that can find something new when only the colours change."""
SIZE = "each => [each.offsetWidth, each.offsetHeight]"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Opened:
    page: Page
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


@contextmanager
def opened(
    browser: Browser, site: Site, page: str = "/", width: int = 1280, scheme: str = "light"
) -> Generator[Opened]:
    """A page in a window whose cache is empty, loaded to the end."""
    site.sent.clear()
    size = {"width": width, "height": WIDTHS[width]}
    with browser.new_context(
        viewport=size, color_scheme=scheme, reduced_motion="reduce", permissions=["clipboard-read", "clipboard-write"]
    ) as context:
        shown = Opened(context.new_page())
        shown.page.on(
            "console", lambda said: shown.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        context.on(
            "request",
            lambda request: (
                None if request.url.startswith((site.address, "data:", "blob:")) else shown.foreign.append(request.url)
            ),
        )
        shown.page.add_init_script(SHIFTS)
        shown.page.goto(site.url(page), wait_until="networkidle" if page == "/" else "load")
        shown.page.evaluate("document.fonts.ready.then(() => true)")
        shown.page.set_default_timeout(10_000)
        yield shown


def violations(page: Page) -> list[str]:
    """What axe finds, in light and in dark."""
    if not page.evaluate("window.axe !== undefined"):
        page.evaluate(AXE)
    page.evaluate("document.body.dataset.mdColorScheme = 'default'")
    found = page.evaluate(RUN_AXE, None)
    page.evaluate("document.body.dataset.mdColorScheme = 'slate'")
    return found + [f"dark: {each}" for each in page.evaluate(RUN_AXE, COLOURS)]


@pytest.mark.parametrize("place", pages())
def test_a_page_is_accessible_quiet_light_and_still(browser: Browser, site: Site, place: str) -> None:
    with opened(browser, site, place) as shown:
        page = shown.page
        assert sum(site.sent.values()) <= HEAVIEST, site.sent
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            page.reload()
            assert page.evaluate(WIDER) <= 0, width
            assert violations(page) == [], width
            assert page.evaluate("window.shifted") == 0, width
        assert page.locator(".drawing svg[aria-labelledby]").count() == source(place).count("```mermaid")
        assert (shown.complaints, shown.foreign) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reader_sees_the_colours_of_their_system_until_they_choose(
    browser: Browser, site: Site, scheme: str
) -> None:
    ground = "getComputedStyle(document.body).getPropertyValue('--paper').trim()"
    with opened(browser, site, scheme=scheme) as shown:
        before = shown.page.evaluate(ground)
        assert before == {"light": "#fdfcf9", "dark": "#14171c"}[scheme]
        shown.page.click("[data-md-component=palette] label:not([hidden])")
        after = shown.page.evaluate(ground)
        shown.page.goto(site.url("start/install/"))
        assert after != before
        assert shown.page.evaluate(ground) == after


FINDABLE = {
    "voting_sensitivity": "reference/configuration/",
    "stall_timeout_seconds": "reference/configuration/",
    "winner_reuse": "reference/configuration/",
    "no-display": "reference/command-line/",
    "came to no usable act": "guides/troubleshooting/",
    "TurnFailed": "reference/facts/",
    "130": "reference/exit-codes/",
    "arun": "reference/api/",
    "MASSGEN_HOME": "start/install/",
}


def search(page: Page, query: str) -> None:
    page.fill("[name=query]", query)
    page.press("[name=query]", "End")  # the search listens to keys


def test_the_search_finds_flags_keys_values_names_and_errors(browser: Browser, site: Site) -> None:
    with opened(browser, site) as shown:
        assert not [path for path in site.sent if "search" in path]
        for query, place in FINDABLE.items():
            search(shown.page, query)
            shown.page.wait_for_selector(f".md-search-result__link[href*='{place}']", state="attached")
            search(shown.page, "")
            shown.page.wait_for_selector(".md-search-result__link", state="detached")
        assert shown.complaints == []


def test_what_the_search_shows_is_accessible(browser: Browser, site: Site) -> None:
    with opened(browser, site) as shown:
        search(shown.page, "vote")
        shown.page.wait_for_selector(".md-search-result__link")
        assert violations(shown.page) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_cast_plays_when_asked_in_the_place_of_its_still(browser: Browser, site: Site, width: int) -> None:
    with opened(browser, site, width=width) as shown:
        screen = shown.page.locator(".cast__screen:visible")
        assert "voted for" in screen.inner_text()
        before = screen.evaluate(SIZE)
        screen.get_by_role("button", name="Play").click()
        shown.page.wait_for_selector(".cast__screen:visible .ap-player")
        shown.page.wait_for_function("document.querySelector('.ap-term')?.innerText.includes('massgen')")
        assert screen.evaluate(SIZE) == before
        assert shown.page.evaluate("window.shifted") == 0
        assert violations(shown.page) == []
        assert (shown.complaints, shown.foreign) == ([], [])


def test_copying_a_console_block_takes_the_commands_alone(browser: Browser, site: Site) -> None:
    with opened(browser, site, "start/install/") as shown:
        block = shown.page.locator(".language-console").first
        block.hover()
        block.get_by_role("button", name="Copy").click()
        copied = shown.page.evaluate("navigator.clipboard.readText()")
    body = re.search(r"```console[^\n]*\n(.*?)```", source("start/install/"), re.DOTALL)
    assert body
    assert copied.splitlines() == [line.removeprefix("$ ") for line in body[1].splitlines() if line.startswith("$ ")]


def test_a_diagram_that_cannot_be_read_is_told(browser: Browser) -> None:
    with browser.new_page() as page, pytest.raises(Error, match="Parse error"):
        draw(page, {"broken": "stateDiagram-v2\n  a -->\n"})
