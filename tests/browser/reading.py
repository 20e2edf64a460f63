"""A reader in Chromium: opens pages with nothing in the cache and notes what they load, say, and how they move."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.browser.needs import CHROMIUM, MODULES, QUIET
from tests.browser.site import Site, serving

WIDTHS = {1280: 900, 375: 800}
"""Width of the window -> height."""

AXE = """async rules => (await axe.run({ preload: false, resultTypes: ["violations"], ...(rules && { runOnly: rules }) }))
  .violations.flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.target.join(" ")}: ${node.failureSummary}`))"""
ALIKE = """document.querySelectorAll("pre").forEach(pre => {
  const seen = new Set()
  for (const token of pre.querySelectorAll("span[class]"))
    if (seen.has(token.className)) token.replaceWith(...token.childNodes)
    else seen.add(token.className)
})"""
"""Leaves one token of each kind in a block of code: the others have its colours, and axe takes longest for them."""
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that can find something new when only the colours change."""
SHIFTS = """
window.shifted = 0
new PerformanceObserver(list => { for (const each of list.getEntries()) window.shifted += each.value })
  .observe({ type: "layout-shift", buffered: true })
"""
WIDER = "Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)"


Scheme = Literal["light", "dark"]


class Category(TypedDict):
    """`wrong`: the audits that cost some of the score, which is at most 1."""

    score: float
    wrong: list[str]


class Audit(TypedDict):
    """What Lighthouse says of a page."""

    accessibility: Category
    seo: Category


@contextmanager
def chromium() -> Generator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET]) as browser,
    ):
        yield browser


@dataclass
class Reader:
    """`complaints` of the console and of scripts, and requests to `foreign` origins, are those since the page was opened."""

    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list[str])
    foreign: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        own = (self.site.address, "data:", "blob:")
        self.page.context.on(
            "request", lambda asked: None if asked.url.startswith(own) else self.foreign.append(asked.url)
        )

    def open(self, place: str) -> None:
        for seen in (self.site.sent, self.complaints, self.foreign):
            seen.clear()
        self.page.goto(self.site.url(place))
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def violations(self) -> list[str]:
        """What axe finds, in light and in dark."""
        found: list[str] = []
        self.page.evaluate(ALIKE)
        for scheme, rules in (("default", None), ("slate", COLOURS)):
            self.page.evaluate(f"document.body.dataset.mdColorScheme = '{scheme}'")
            found += [f"{scheme}: {each}" for each in self.page.evaluate(AXE, rules)]
        return found


@contextmanager
def reading(
    browser: Browser, site: Site, place: str = "/", width: int = 1280, scheme: Scheme = "light"
) -> Generator[Reader]:
    """A reader with a cache of its own, who has opened `place`."""
    size = ViewportSize(width=width, height=WIDTHS[width])
    may = ["clipboard-read", "clipboard-write"]
    with browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce", permissions=may) as context:
        context.set_default_timeout(15_000)
        context.add_init_script(path=MODULES / "axe-core/axe.min.js")
        context.add_init_script(SHIFTS)
        reader = Reader(context.new_page(), site)
        reader.open(place)
        yield reader


@dataclass(frozen=True)
class Visit:
    """A page at both widths. `sent`: path -> bytes over the wire, at a first visit; the rest by width."""

    sent: dict[str, int]
    drawings: int
    fonts: list[str]
    violations: list[str]
    wider: dict[int, int]
    shifted: dict[int, float]
    complaints: list[str]
    foreign: list[str]


def visited(folder: Path, waiting: Iterator[str]) -> dict[str, Visit]:
    """Visits what is `waiting`, one page after the other, in a Chromium of its own."""
    with serving(folder) as site, chromium() as browser, reading(browser, site) as reader:
        return {place: _visit(reader, place) for place in waiting}


def _visit(reader: Reader, place: str) -> Visit:
    page, sent = reader.page, {}
    violations: list[str] = []
    wider: dict[int, int] = {}
    shifted: dict[int, float] = {}
    complaints: list[str] = []
    foreign: list[str] = []
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        reader.open(place)
        sent = sent or dict(reader.site.sent)
        violations += [f"{width}, {each}" for each in reader.violations()]
        wider[width], shifted[width] = page.evaluate(WIDER), page.evaluate("window.shifted")
        complaints += reader.complaints
        foreign += reader.foreign
    fonts = page.evaluate("[...document.fonts].filter(each => each.status === 'loaded').map(each => each.family)")
    drawings = page.locator(".drawing svg[aria-labelledby]").count()
    return Visit(sent, drawings, sorted({*fonts}), violations, wider, shifted, complaints, foreign)
