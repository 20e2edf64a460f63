"""The handbook's plot of a rate limit is what the script draws now, and shows what the page says of it."""

from tests.limit_plots import PLOT, RPM, alone, arrivals, ours, svg, within


def test_the_plot_is_what_the_script_draws_and_fetches_nothing() -> None:
    drawn = svg()
    assert PLOT.read_bytes() == drawn.encode()
    assert "url(" not in drawn
    assert "@import" not in drawn


def test_a_bucket_lets_almost_twice_the_limit_through_and_a_window_never_more_than_it() -> None:
    assert max(calls for _, calls in within(arrivals(alone))) == 2 * RPM - 1
    assert max(calls for _, calls in within(arrivals(ours))) == RPM


def test_both_send_every_call_of_both_bursts() -> None:
    assert len(arrivals(alone)) == len(arrivals(ours)) == 40
