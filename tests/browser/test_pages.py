"""Every page in Chromium, wide and narrow: accessible, quiet, light, still, and of this origin alone."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.reading import WIDER, Visit, reading
from tests.browser.site import pages, serving, source

HEAVIEST = 100_000
"""Bytes of a page, compressed, with everything it loads by itself: fonts, styles, scripts, its index for the search not."""


def those(visits: dict[str, Visit], wrong: Callable[[Visit], object]) -> dict[str, object]:
    """Page -> what is wrong with it, where something is."""
    return {place: found for place, visit in visits.items() if (found := wrong(visit))}


def test_every_page_was_visited(visits: dict[str, Visit]) -> None:
    assert sorted(visits) == sorted([*pages(), "404.html"])


def test_axe_finds_nothing_wide_or_narrow_light_or_dark(visits: dict[str, Visit]) -> None:
    assert those(visits, lambda visit: visit.violations) == {}


def test_no_page_asks_another_origin_or_complains(visits: dict[str, Visit]) -> None:
    assert those(visits, lambda visit: visit.foreign + visit.complaints) == {}


def test_a_first_visit_to_a_page_is_light(visits: dict[str, Visit]) -> None:
    assert those(visits, lambda visit: sum(visit.sent.values()) > HEAVIEST and visit.sent) == {}


def test_nothing_moves_while_a_page_loads(visits: dict[str, Visit]) -> None:
    assert those(visits, lambda visit: any(visit.shifted.values()) and visit.shifted) == {}


def test_nothing_moves_either_where_a_page_stops_coming_in_the_middle_of_a_table(browser: Browser, built: Path) -> None:
    with serving(built) as slow:
        slow.stalls["/reference/facts/"] = "<td><code>config</code></td>"
        with reading(browser, slow, "reference/facts/") as reader:
            assert reader.page.evaluate("window.shifted") == 0


def test_no_page_is_wider_than_its_window(visits: dict[str, Visit]) -> None:
    assert those(visits, lambda visit: any(visit.wider.values()) and visit.wider) == {}


def test_pages_are_set_in_the_fonts_of_the_repository(visits: dict[str, Visit]) -> None:
    assert those(visits, lambda visit: visit.fonts != ["Figtree", "Newsreader"] and visit.fonts) == {}
    assert {
        path
        for place, visit in visits.items()
        if place != "404.html"
        for path in visit.sent
        if "/assets/fonts/" in path
    } == {
        "/assets/fonts/figtree.woff2",
        "/assets/fonts/newsreader-600.woff2",
    }


def test_every_diagram_of_a_page_is_drawn_and_has_a_name(visits: dict[str, Visit]) -> None:
    drawn = {place: visit.drawings for place, visit in visits.items()}
    assert drawn == {"404.html": 0} | {page: source(page).count("```mermaid") for page in pages()}
    assert any(drawn.values())


SPOILT = """<!doctype html><html lang="en"><title>Spoilt</title><main><h1>Spoilt</h1><img src="http://127.0.0.1:9/x.png">
<p style="color: #aaa; background: #fff">Pale</p><div style="width: 2000px">Wide</div>
<script>setTimeout(() => document.querySelector("h1").style.marginTop = "300px", 20)</script></main></html>"""


def test_a_spoilt_page_would_be_told(browser: Browser, built: Path) -> None:
    with serving(built, {"/spoilt/": SPOILT}) as spoilt, reading(browser, spoilt, "spoilt/", 375) as reader:
        reader.page.wait_for_function("window.shifted > 0")
        found = " ".join(reader.violations())
        assert "image-alt" in found
        assert "color-contrast" in found
        assert reader.page.evaluate(WIDER) > 1000
        assert reader.foreign == ["http://127.0.0.1:9/x.png"]
        assert "Failed to load" in reader.complaints[0]
