import math
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from massgen.errors import BackendError, Exit, QuotaError
from massgen.limiter.quotas import Blocked, Call, Limits, Quota, Weights
from massgen.limiter.windows import ASLEEP, next_midnight
from tests.window_oracle import Made, Oracle

NOON = datetime(2026, 11, 21, 12, tzinfo=ZoneInfo("UTC")).timestamp()
HOUR = 3600.0
ONE = Weights()


def granted(quota: Quota, now: float, wall: float = NOON, weights: Weights = ONE) -> Call:
    call = quota.reserve(weights, now, wall)
    assert isinstance(call, Call), call
    return call


def blocked(quota: Quota, now: float, wall: float = NOON, weights: Weights = ONE) -> Blocked:
    why = quota.reserve(weights, now, wall)
    assert isinstance(why, Blocked)
    return why


def made(quota: Quota, now: float, wall: float = NOON, weights: Weights = ONE) -> Call:
    """A call that is acknowledged and over at once."""
    call = granted(quota, now, wall, weights)
    quota.finish(call, None, now, wall)
    return call


def fill(quota: Quota, now: float, wall: float) -> int:
    """How many calls are granted before one is blocked."""
    for number in range(1000):
        call = quota.reserve(Weights(), now, wall)
        if isinstance(call, Blocked):
            return number
        quota.finish(call, None, now, wall)
    raise AssertionError("no end")


def test_an_acknowledged_call_leaves_one_window_after_its_acknowledgement():
    quota = Quota(Limits(rpm=1))
    call = granted(quota, 0.0)
    assert blocked(quota, 500.0) == Blocked("rpm", 1, 1, None)
    quota.acked(call, 500.0, NOON)
    assert blocked(quota, 501.0) == Blocked("rpm", 1, 1, 59.0)
    assert blocked(quota, 559.5).wait == 0.5
    granted(quota, 560.0)


def test_the_actual_weights_replace_the_reserved_ones_while_they_count():
    quota = Quota(Limits(tpm=100, tpd=300))
    call = granted(quota, 0.0, weights=Weights(60, 40))
    quota.finish(call, Weights(10, 5), 1.0, NOON)
    assert quota.use(1.0, NOON) == {"tpm": (15, 100), "tpd": (15, 300)}
    late = granted(quota, 2.0, weights=Weights(50, 0))
    quota.acked(late, 2.0, NOON)
    quota.use(69.0, NOON)
    quota.finish(late, Weights(200, 0), 70.0, NOON)
    assert quota.use(70.0, NOON) == {"tpm": (0, 100), "tpd": (215, 300)}


def test_a_call_that_weighed_more_than_reserved_counts_in_full():
    quota = Quota(Limits(tpm=100))
    quota.finish(granted(quota, 0.0, weights=Weights(10)), Weights(150), 0.0, NOON)
    assert blocked(quota, 1.0, weights=Weights(1)).wait == 59.0


def test_what_was_never_sent_is_given_back():
    quota = Quota(Limits(rpm=1, rpd=1, tpm=10, cost=1.0, concurrency=1))
    call = granted(quota, 0.0, weights=Weights(5, 5, 1.0))
    quota.release(call, 0.0, NOON)
    quota.release(call, 0.0, NOON)
    assert {used for used, _ in quota.use(0.0, NOON).values()} == {0}
    granted(quota, 0.0, weights=Weights(5, 5, 1.0))


def test_releasing_an_acknowledged_call_finishes_it():
    quota = Quota(Limits(rpm=5, concurrency=1))
    call = granted(quota, 0.0)
    quota.acked(call, 0.0, NOON)
    quota.release(call, 1.0, NOON)
    assert quota.use(1.0, NOON) == {"concurrency": (0, 1), "rpm": (1, 5)}


def test_calls_at_once_are_freed_when_they_are_over_not_when_they_are_acknowledged():
    quota = Quota(Limits(concurrency=1))
    call = granted(quota, 0.0)
    quota.acked(call, 1.0, NOON)
    assert blocked(quota, 100.0) == Blocked("concurrency", 1, 1, None)
    quota.finish(call, None, 101.0, NOON)
    quota.finish(call, None, 101.0, NOON)
    granted(quota, 101.0)


def test_cost_is_exact_to_the_cent_in_its_own_window():
    quota = Quota(Limits(cost=1.0, cost_seconds=600))
    for number in range(10):
        made(quota, float(number), weights=Weights(cost=0.1))
    assert blocked(quota, 10.0, weights=Weights(cost=0.1)) == Blocked("cost", 1.0, 1.0, 590.0)
    late = granted(quota, 600.0, weights=Weights(cost=0.1))
    quota.finish(late, Weights(cost=0.05), 600.0, NOON)
    assert quota.use(600.0, NOON) == {"cost": (0.95, 1.0)}


def test_input_and_output_tokens_have_limits_of_their_own():
    quota = Quota(Limits(itpm=100, otpm=10))
    made(quota, 0.0, weights=Weights(90, 5))
    assert blocked(quota, 1.0, weights=Weights(11, 1)).dimension == "itpm"
    assert blocked(quota, 1.0, weights=Weights(1, 6)).dimension == "otpm"


def test_tokens_may_count_by_input_alone():
    quota = Quota(Limits(tpm=100, counts="input"))
    made(quota, 0.0, weights=Weights(60, 1000))
    assert quota.use(0.0, NOON) == {"tpm": (60, 100)}


def test_the_longest_wait_is_the_reason():
    quota = Quota(Limits(rpm=1, rpd=1))
    made(quota, 0.0)
    assert blocked(quota, 1.0) == Blocked("rpd", 1, 1, 12 * HOUR - 0.0)


@pytest.mark.parametrize(
    ("limits", "weights", "message"),
    [
        (Limits(rpm=0), Weights(), "no quota: the limit is 0 requests a minute (rpm)"),
        (Limits(tpd=0), Weights(), "no quota: the limit is 0 tokens a day (tpd)"),
        (Limits(tpm=100), Weights(90, 11), "a call of 101 is larger than the limit of 100 tokens a minute (tpm)"),
        (Limits(cost=0.5, cost_seconds=600), Weights(cost=0.75), "a call of 0.75 is larger than the limit of 0.5 doll"),
        (Limits(rpm=0.5), Weights(), "a call of 1 is larger than the limit of 0.5 requests a minute (rpm)"),
    ],
)
def test_a_call_that_can_never_be_sent_is_refused_in_words(limits: Limits, weights: Weights, message: str):
    with pytest.raises(QuotaError) as caught:
        Quota(limits).check(weights, 0.0, NOON)
    assert str(caught.value).startswith(message)
    assert "rate_limits:" in caught.value.fix
    assert isinstance(caught.value, BackendError)
    assert (caught.value.transient, caught.value.exit_code) == (False, Exit.NO_ANSWER)


def test_a_hold_stops_the_key_and_a_shorter_one_does_not_end_it():
    quota = Quota(Limits(rpm=5))
    quota.hold(30, 0.0, "PerMinute")
    quota.hold(5, 1.0)
    assert blocked(quota, 10.0) == Blocked("PerMinute", 0, 0, 20.0)
    granted(quota, 30.0)


def test_new_limits_keep_what_is_counted():
    quota = Quota(Limits(rpm=9))
    for _ in range(4):
        made(quota, 0.0)
    quota.limits = Limits(rpm=3, tpm=10)
    assert blocked(quota, 1.0) == Blocked("rpm", 4, 3, 59.0)
    quota.limits = Limits(rpm=5, rpd=5)
    made(quota, 1.0)
    assert blocked(quota, 1.0).dimension == "rpd"


@pytest.mark.parametrize("weights", [Weights(-5, -5, -1.0), Weights(10**40, 10**40, math.inf), Weights(cost=math.nan)])
def test_nonsense_from_a_provider_does_not_break_the_counting(weights: Weights):
    quota = Quota(Limits(tpm=100, cost=1.0))
    quota.finish(granted(quota, 0.0, weights=Weights(1, 1, 0.1)), weights, 0.0, NOON)
    assert all(used >= 0 for used, _ in quota.use(0.0, NOON).values())
    quota.use(100.0, NOON)
    granted(quota, 86_500.0, NOON, Weights(100, 0, 1.0))


def test_a_clock_that_steps_back_breaks_no_order():
    quota = Quota(Limits(rpm=2))
    made(quota, 100.0)
    made(quota, 90.0)
    assert blocked(quota, 100.0).wait == 60.0
    assert fill(quota, 160.0, NOON) == 2


def test_the_log_of_a_long_run_is_trimmed_and_late_corrections_still_find_their_call():
    quota = Quota(Limits(tpm=10**9))
    for number in range(1000):
        call = granted(quota, number / 2, weights=Weights(3))
        quota.acked(call, number / 2, NOON)
        quota.finish(call, Weights(2), number / 2 + 1, NOON)
    assert quota.use(500.5, NOON) == {"tpm": (2 * 118, 1e9)}


# --- days ---


@pytest.mark.parametrize(
    ("zone", "at", "midnight"),
    [
        ("America/Los_Angeles", "2026-11-21T12:00-08:00", "2026-11-22T00:00-08:00"),
        ("America/Los_Angeles", "2026-03-08T01:00-08:00", "2026-03-09T00:00-07:00"),
        ("America/Los_Angeles", "2026-11-01T00:00-07:00", "2026-11-02T00:00-08:00"),
        ("America/Santiago", "2026-09-05T12:00-04:00", "2026-09-06T01:00-03:00"),
        ("UTC", "2026-12-31T23:59+00:00", "2027-01-01T00:00+00:00"),
    ],
)
def test_days_end_at_midnight_of_the_zone_also_where_the_clocks_change(zone: str, at: str, midnight: str):
    wall = datetime.fromisoformat(at).timestamp()
    assert next_midnight(zone, wall) == datetime.fromisoformat(midnight).timestamp()


def test_a_day_is_granted_once_and_the_next_one_at_midnight_of_the_zone():
    quota = Quota(Limits(rpd=3, day_zone="America/Los_Angeles"))
    assert fill(quota, 0.0, NOON) == 3
    assert blocked(quota, 1.0, NOON + 1).wait == 20 * HOUR - 1
    assert fill(quota, 12 * HOUR, NOON + 12 * HOUR) == 0
    assert fill(quota, 20 * HOUR, NOON + 20 * HOUR) == 3
    assert fill(quota, 44 * HOUR, NOON + 44 * HOUR) == 3


def test_a_call_in_flight_over_midnight_counts_on_both_sides():
    quota = Quota(Limits(rpd=3))
    call = granted(quota, 11 * HOUR, NOON + 11 * HOUR)
    assert fill(quota, 11 * HOUR, NOON + 11 * HOUR) == 2
    quota.acked(call, 13 * HOUR, NOON + 13 * HOUR)
    assert quota.use(13 * HOUR, NOON + 13 * HOUR) == {"rpd": (1, 3)}
    assert fill(quota, 14 * HOUR, NOON + 14 * HOUR) == 2


def test_a_correction_after_midnight_leaves_the_new_day_alone():
    quota = Quota(Limits(tpd=100))
    call = granted(quota, 0.0, weights=Weights(80))
    quota.acked(call, 0.0, NOON)
    quota.finish(call, Weights(10), 13 * HOUR, NOON + 13 * HOUR)
    assert quota.use(13 * HOUR, NOON + 13 * HOUR) == {"tpd": (0, 100)}


@pytest.mark.parametrize(
    ("step", "stepped"),
    [(HOUR, 11.5 * HOUR), (HOUR, 12.5 * HOUR), (-HOUR, 11.5 * HOUR), (-HOUR, 12 * HOUR - 1)],
)
def test_a_wall_clock_that_steps_an_hour_grants_no_day_twice(step: float, stepped: float):
    """Of each true day, whichever of the two readings is true, at most the day's quota."""
    quota, spent = Quota(Limits(rpd=10)), list[float]()
    for minute in range(60 * 60):
        now = minute * 60.0
        wall = NOON + now + (step if now >= stepped else 0.0)
        spent += [now] * fill(quota, now, wall) if minute % 7 == 0 else []
    for offset in (0.0, step):
        days = [(NOON + now + offset) // 86_400 for now in spent]
        assert max(days.count(day) for day in days) <= 10, offset
    assert len(spent) >= 20


def test_what_is_granted_while_the_clocks_disagree_counts_on_both_sides_and_can_be_given_back():
    quota = Quota(Limits(rpd=4))
    quota.use(0.0, NOON)
    quota.use(12.5 * HOUR, NOON + 11.5 * HOUR)
    made(quota, 12.5 * HOUR, NOON + 11.5 * HOUR)
    quota.release(granted(quota, 12.5 * HOUR, NOON + 11.5 * HOUR), 12.5 * HOUR, NOON + 11.5 * HOUR)
    assert quota.use(13 * HOUR, NOON + 12 * HOUR) == {"rpd": (1, 4)}
    assert fill(quota, 13 * HOUR, NOON + 12 * HOUR) == 3


def test_corrections_while_the_clocks_disagree_count_on_both_sides():
    quota = Quota(Limits(tpd=100))
    call = granted(quota, 0.0, weights=Weights(50))
    before = granted(quota, 0.0, weights=Weights(20))
    quota.acked(before, 0.0, NOON)
    quota.acked(call, 12.5 * HOUR, NOON + 11.5 * HOUR)
    quota.finish(before, Weights(30), 12.5 * HOUR, NOON + 11.5 * HOUR)
    quota.finish(call, Weights(10), 12.5 * HOUR, NOON + 11.5 * HOUR)
    assert quota.use(12.5 * HOUR, NOON + 11.5 * HOUR) == {"tpd": (40, 100)}
    assert quota.use(13 * HOUR, NOON + 12 * HOUR) == {"tpd": (10, 100)}


def test_when_a_day_is_free_again_is_unknown_while_calls_in_flight_may_fill_the_next():
    quota = Quota(Limits(rpd=2))
    first, second = granted(quota, 0.0), granted(quota, 0.0)
    assert blocked(quota, 1.0).wait is None
    quota.acked(first, 2.0, NOON + 2)
    assert blocked(quota, 2.0, NOON + 2).wait == 12 * HOUR - 2
    quota.acked(second, 13 * HOUR, NOON + 13 * HOUR)
    assert fill(quota, 13 * HOUR, NOON + 13 * HOUR) == 1


def test_a_machine_that_slept_past_midnight_wakes_in_the_new_day():
    quota = Quota(Limits(rpd=1))
    assert fill(quota, 0.0, NOON) == 1
    assert fill(quota, 60.0, NOON + 12 * HOUR + ASLEEP) == 1
    assert fill(quota, 61.0, NOON + 12 * HOUR + ASLEEP) == 0
    assert blocked(quota, 61.0, NOON + 12 * HOUR + ASLEEP + 1).wait == 22 * HOUR - 1


# --- against brute force ---

weights = st.builds(Weights, st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.0, 0.1, 0.25, 0.5]))
steps = st.sampled_from([0.0, 0.5, 1.0, 7.25, 30.0, 59.5, 60.0, 61.0, 600.0, 5 * HOUR])
choices: dict[str, Any] = {
    "rpm": st.sampled_from([None, 1, 2, 9]),
    "tpm": st.sampled_from([None, 150, 300]),
    "itpm": st.sampled_from([None, 100]),
    "otpm": st.sampled_from([None, 90]),
    "rpd": st.sampled_from([None, 5, 20]),
    "tpd": st.sampled_from([None, 500]),
    "concurrency": st.sampled_from([None, 1, 3]),
    "cost": st.sampled_from([None, 1.0]),
}


class Against(RuleBasedStateMachine):
    """Every grant and every refusal is the oracle's, and no wait is too long or too short."""

    @initialize(
        named=st.fixed_dictionaries(choices),
        zone=st.sampled_from(["UTC", "America/Los_Angeles", "Asia/Kolkata"]),
        counts=st.sampled_from(["input", "total"]),
        epoch=st.sampled_from([NOON, NOON + 11.99 * HOUR, 1_772_956_800.0, 1_793_516_400.0]),
    )
    def begin(self, named: dict[str, Any], zone: str, counts: Any, epoch: float) -> None:
        self.limits = Limits(**named, cost_seconds=600, day_zone=zone, counts=counts)
        self.quota = Quota(self.limits)
        known = {name: limit for name, limit in named.items() if limit is not None}
        self.oracle = Oracle(known, epoch, zone, counts, 600)
        self.now, self.open = 0.0, list[tuple[Call, Made]]()
        self.quota.use(0.0, epoch)

    @property
    def wall(self) -> float:
        return self.oracle.epoch + self.now

    @rule(by=steps)
    def wait(self, by: float) -> None:
        self.now += by

    @rule(weights=weights)
    def ask(self, weights: Weights) -> None:
        call = Made(1, weights.input, weights.output, weights.cost, self.now)
        answer = self.quota.reserve(weights, self.now, self.wall)
        assert isinstance(answer, Call) == self.oracle.fits(call, self.now)
        if isinstance(answer, Call):
            self.oracle.calls.append(call)
            self.open.append((answer, call))
        elif answer.wait is not None:
            reason = call.amount(answer.dimension, self.oracle.counts)
            limit = self.oracle.limits[answer.dimension]
            assert self.oracle.used(answer.dimension, self.now + answer.wait + 1e-6) + reason <= limit + 1e-9
            assert self.oracle.used(answer.dimension, self.now + answer.wait - 1e-6) + reason > limit + 1e-9

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        call, made = data.draw(st.sampled_from(self.open))
        self.quota.acked(call, self.now, self.wall)
        made.acked = self.now if made.acked is None else made.acked

    @precondition(lambda self: self.open)
    @rule(data=st.data(), actual=st.none() | weights)
    def end(self, data: st.DataObject, actual: Weights | None) -> None:
        call, made = data.draw(st.sampled_from(self.open))
        self.quota.finish(call, actual, self.now, self.wall)
        made.acked, made.over = self.now if made.acked is None else made.acked, True
        if actual:
            made.input, made.output, made.cost = actual.input, actual.output, actual.cost
        self.open.remove((call, made))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        call, made = data.draw(st.sampled_from(self.open))
        self.quota.release(call, self.now, self.wall)
        self.open.remove((call, made))
        made.over = True
        if made.acked is None:
            self.oracle.calls.remove(made)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "quota"):
            used = {name: use for name, (use, _) in self.quota.use(self.now, self.wall).items()}
            assert used == pytest.approx({name: self.oracle.used(name, self.now) for name in self.oracle.limits})


TestQuotaAgainstBruteForce = pytest.mark.timeout(60)(Against.TestCase)
TestQuotaAgainstBruteForce.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@given(st.lists(st.tuples(st.floats(0, 40), st.floats(0, 5), st.integers(0, 50)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_no_window_holds_more_than_the_limit_however_calls_come(calls: list[tuple[float, float, int]]):
    quota, now, arrived = Quota(Limits(rpm=5, tpm=100)), 0.0, list[tuple[float, int]]()
    for gap, latency, tokens in calls:
        now += gap
        while isinstance(call := quota.reserve(Weights(tokens), now, NOON + now), Blocked):
            assert call.wait is not None
            now += max(call.wait, 1e-6)
        arrived.append((now + latency / 2, tokens))
        now += latency
        quota.finish(call, None, now, NOON + now)
    for at, _ in arrived:
        window = [tokens for time, tokens in arrived if at - 60 < time <= at]
        assert len(window) <= 5
        assert sum(window) <= 100
