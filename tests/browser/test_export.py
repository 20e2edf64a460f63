"""An exported session in Chromium: readable by everyone, and inert whatever the models wrote."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from massgen.exports import rendered
from tests.browser.reading import AXE, WIDER, WIDTHS, Scheme, reading
from tests.browser.site import serving
from tests.facts import answering, troubled
from tests.test_exports import HOSTILE, saying

HTML = {
    "/plain/": rendered(troubled().facts, "html"),
    "/hostile/": rendered(saying("".join(HOSTILE) + "w" * 300 + "\n```\n" + "c" * 300).facts, "html")
    .encode(errors="replace")
    .decode(),
}
UNFOLD = "document.querySelectorAll('details').forEach(each => each.open = true)"
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("place", HTML)
def test_an_exported_session_is_accessible_fits_and_loads_nothing(
    browser: Browser, tmp_path: Path, place: str, width: int, scheme: Scheme
) -> None:
    with serving(tmp_path, HTML) as site, reading(browser, site, place, width, scheme) as reader:
        asked_to_speak: list[str] = []
        reader.page.on("dialog", lambda dialog: asked_to_speak.append(dialog.message))
        reader.page.evaluate(UNFOLD)
        assert reader.page.evaluate(AXE, None) == []
        assert reader.page.evaluate(WIDER) == 0
        assert (reader.complaints, reader.foreign, asked_to_speak) == ([], [], [])
        assert [*site.sent] == [place]
        ground = {"light": "rgb(253, 252, 249)", "dark": "rgb(20, 23, 28)"}[scheme]
        assert reader.page.evaluate(GROUND) == ground


def test_a_vote_leads_to_its_answer_even_if_that_is_folded(browser: Browser, tmp_path: Path) -> None:
    run = answering(1).answer("alice", "Sydney.").begin("decide").vote("alice", "alice").answer("alice", "Canberra.")
    with (
        serving(tmp_path, {"/export/": rendered(run.facts, "html")}) as site,
        reading(browser, site, "/export/") as reader,
    ):
        folded = reader.page.get_by_text("Sydney.")
        assert not folded.is_visible()
        reader.page.get_by_role("link", name="alice, answer 1").click()
        assert folded.is_visible()
