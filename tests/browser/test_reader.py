"""What a reader does: chooses colours, searches, plays a recording, copies commands, goes by keyboard."""

import re

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.reading import WIDTHS, Scheme, reading
from tests.browser.site import Site, source

SIZE = "each => [each.offsetWidth, each.offsetHeight]"
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reader_sees_the_colours_of_their_system_until_they_choose(
    browser: Browser, site: Site, scheme: Scheme
) -> None:
    with reading(browser, site, scheme=scheme) as reader:
        before = reader.page.evaluate(GROUND)
        assert before == {"light": "rgb(253, 252, 249)", "dark": "rgb(20, 23, 28)"}[scheme]
        reader.page.click("[data-md-component=palette] label:not([hidden])")
        after = reader.page.evaluate(GROUND)
        reader.open("start/install/")
        assert after != before
        assert reader.page.evaluate(GROUND) == after


FINDABLE = {
    "--no-display": "reference/command-line/",
    "--json": "reference/command-line/",
    "voting_sensitivity": "reference/configuration/",
    "max_new_answers_per_agent": "reference/configuration/",
    "stall_timeout_seconds": "reference/configuration/",
    "MASSGEN_HOME": "reference/environment/",
    "exit code 130": "reference/exit-codes/",
    "came to no usable act": "guides/troubleshooting/",
    "TurnFailed": "reference/facts/",
    "arun": "reference/api/",
    "OPENAI_API_KEY": "start/first-key/",
    "install": "start/install/",
    "how a team decides": "concepts/how-a-team-decides/",
}
"""What is typed -> the page that must come first."""


def search(page: Page, query: str) -> None:
    page.fill("[name=query]", query)
    page.press("[name=query]", "End")  # the search listens to keys


def test_the_search_finds_flags_keys_values_names_and_errors(browser: Browser, site: Site) -> None:
    with reading(browser, site) as reader:
        assert not [path for path in site.sent if "search" in path]
        found: dict[str, str] = {}
        for query in FINDABLE:
            search(reader.page, query)
            first = reader.page.wait_for_selector(".md-search-result__link", state="attached")
            found[query] = str(first and first.get_attribute("href")).removeprefix(site.url("")).split("?")[0]
            search(reader.page, "")
            reader.page.wait_for_selector(".md-search-result__link", state="detached")
        assert found == FINDABLE
        assert reader.complaints == []


def test_what_the_search_shows_is_accessible(browser: Browser, site: Site) -> None:
    with reading(browser, site) as reader:
        search(reader.page, "vote")
        reader.page.wait_for_selector(".md-search-result__link")
        assert reader.violations() == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_cast_plays_when_asked_in_the_place_of_its_still(browser: Browser, site: Site, width: int) -> None:
    with reading(browser, site, width=width) as reader:
        page, screen = reader.page, reader.page.locator(".cast__screen:visible")
        assert "voted for" in screen.inner_text()
        assert not [path for path in site.sent if "asciinema" in path]
        before, styles = screen.evaluate(SIZE), list[Route]()

        def hold(style: Route) -> None:
            styles.append(style)

        page.route("**/asciinema-player.css", hold)
        screen.get_by_role("button", name="Play").click()
        page.wait_for_function("window.AsciinemaPlayer")
        screen.get_by_role("button", name="Play").click()
        assert page.locator(".ap-player").count() == 0, "it is drawn once its style is there"
        styles[0].continue_()
        page.wait_for_selector(".cast__screen:visible .ap-player")
        page.wait_for_function("document.querySelector('.ap-term')?.innerText.includes('massgen')")
        assert screen.evaluate(SIZE) == before
        assert page.evaluate("window.shifted") == 0
        assert reader.violations() == []
        assert (reader.complaints, reader.foreign) == ([], [])


def test_copying_a_console_block_takes_the_commands_alone(browser: Browser, site: Site) -> None:
    with reading(browser, site, "start/install/") as reader:
        block = reader.page.locator(".language-console").first
        block.hover()
        block.get_by_role("button", name="Copy").click()
        copied = reader.page.evaluate("navigator.clipboard.readText()")
    body = re.search(r"```console[^\n]*\n(.*?)```", source("start/install/"), re.DOTALL)
    assert body
    assert copied.splitlines() == [line.removeprefix("$ ") for line in body[1].splitlines() if line.startswith("$ ")]


FOCUSED = """() => {
  const { activeElement } = document, radio = activeElement.matches("[type=radio]")
  if (activeElement === document.body) return null
  const at = radio ? activeElement.nextElementSibling : activeElement  // its label stands for it
  const { outlineStyle, outlineWidth } = getComputedStyle(at), { top, bottom, width } = at.getBoundingClientRect()
  const ring = outlineStyle !== "none" && parseFloat(outlineWidth) >= 1
  return { what: at.outerHTML.slice(0, 120), seen: ring && width > 1 && bottom > 0 && top < innerHeight }
}"""


@pytest.mark.parametrize("place", ["/", "reference/configuration/"])
@pytest.mark.parametrize("width", WIDTHS)
def test_who_goes_by_keyboard_sees_where_they_are(browser: Browser, site: Site, place: str, width: int) -> None:
    with reading(browser, site, place, width) as reader:
        steps: dict[str, bool] = {}
        for _ in range(40):
            reader.page.keyboard.press("Tab")
            if step := reader.page.evaluate(FOCUSED):
                steps[step["what"]] = step["seen"]
    assert len(steps) > 15
    assert [what for what, seen in steps.items() if not seen] == []


def test_a_wide_table_can_be_reached_by_keyboard_as_soon_as_it_is_there(browser: Browser, site: Site) -> None:
    wide = "[...document.querySelectorAll('.table')].filter(each => each.scrollWidth > each.clientWidth)"
    with reading(browser, site, width=375) as reader:
        reader.page.add_init_script(
            f"addEventListener('DOMContentLoaded', () => {{ window.early = {wide}.map(each => each.tabIndex) }})"
        )
        reader.open("reference/planning-tools/")
        reached = set(reader.page.evaluate("window.early"))
    assert reached == {0}


def test_the_first_step_by_keyboard_leads_past_the_navigation(browser: Browser, site: Site) -> None:
    with reading(browser, site, "reference/configuration/") as reader:
        reader.page.keyboard.press("Tab")
        assert reader.page.evaluate("document.activeElement.innerText") == "Skip to content"
        reader.page.keyboard.press("Enter")
        reader.page.keyboard.press("Tab")
        assert reader.page.evaluate("!!document.activeElement.closest('article')")
