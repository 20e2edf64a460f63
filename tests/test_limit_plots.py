"""The handbook's plot of a rate limit is what the script draws now, and shows what the page says of it."""

from pathlib import Path

import pytest

from tests.limit_plots import PLOTS, RPM, alone, arrivals, ours, svg, within
from tests.pictures import ASSETS


@pytest.mark.parametrize("path", PLOTS, ids=lambda path: path.stem)
def test_the_plot_is_what_the_script_draws(path: Path) -> None:
    assert path.read_bytes() == svg(PLOTS[path]).encode()


def test_a_bucket_lets_almost_twice_the_limit_through_and_a_window_never_more_than_it() -> None:
    assert max(calls for _, calls in within(arrivals(alone))) == 2 * RPM - 1
    assert max(calls for _, calls in within(arrivals(ours))) == RPM


def test_both_send_every_call_of_both_bursts() -> None:
    assert len(arrivals(alone)) == len(arrivals(ours)) == 40


def test_the_page_shows_both_plots() -> None:
    page = (ASSETS.parent / "concepts" / "rate-limits.md").read_text("utf-8")
    assert all(f"../assets/{path.name}" in page for path in PLOTS)
