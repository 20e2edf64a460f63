"""A test of the tests: each of these bugs, planted in a copy of the rules or of the limiter, is caught by the test it names."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from types import CodeType, ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)

RULES = ".windows", ".quotas", ".feedback", ".stores.memory", ".learning", ".books", ".gates", ""
"""Modules of `massgen.limiter`, and itself."""
TESTS = "test_judge", "test_limiter", "test_quotas"


@dataclass(frozen=True)
class Bug:
    """`new` instead of `old` in one module, and the test that fails of it."""

    name: str
    module: str
    old: str
    new: str
    test: str
    args: tuple[Any, ...] = ()


BURST = "a_burst_is_served_at_the_full_rate_in_order_without_a_refusal"
JITTER = "jitter_of_the_network_draws_no_refusal"
STORM = "a_storm_of_cancellations_costs_no_capacity"
MIXED = "mixed_sizes_are_all_served_in_order_and_use_the_tokens_of_a_minute"
STEP = "a_wall_clock_set_wrong_by_an_hour_grants_no_day_twice_and_stalls_no_minute"
REFUND = "what_a_call_did_not_use_lets_the_next_one_in"
DROP = "a_silent_drop_of_the_limit_costs_few_refusals"
BUGS = [
    Bug("one call too many", "quotas", "& MASK > whole", "& MASK > whole + 1", BURST, (9,)),
    Bug("a window of 59.5 s", "quotas", "minute_seconds: float = 60", "minute_seconds: float = 59.5", BURST, (9,)),
    Bug("a window of 61 s", "windows", "now - self._seconds\n", "now - self._seconds - 1\n", BURST, (9,)),
    Bug("departure stamps", "quotas", "    return self._count(heavy)\n        return", "    self.acked(call := self._count(heavy), now, wall)\n                return call\n        return", JITTER, (0,)),
    Bug("an end where the answer begins", "gates", "GRACE = 1.0", "GRACE = 0.0", "a_call_cancelled_in_flight_stays_counted_from_then_on"),
    Bug("tokens that are not counted", "quotas", "taken * _INPUT + given * _OUTPUT\n    _,", "_INPUT\n    _,", MIXED),
    Bug("input counted as all tokens", "quotas", "tokens = INPUT if limits.counts", "tokens = INPUT if True or limits.counts", "the_actual_weights_replace_the_reserved_ones_while_they_count"),
    Bug("no refund", "quotas", "(change := pack(actual) - call.heavy)", "(change := 0)", REFUND),
    Bug("a refund of what has left", "windows", "if index >= self._left:", "if True:", "the_actual_weights_replace_the_reserved_ones_while_they_count"),
    Bug("no wake-up after a refund", "gates", "            self._queue[0].wake()\n\n    def release", "            pass\n\n    def release", REFUND),
    Bug("last in, first out", "gates", "_Waiter((now -", "_Waiter((-now -", BURST, (9,)),
    Bug("newcomers pass the queue", "gates", "        if self._queue:\n            return None", "        if False:\n            return None", "a_small_call_does_not_pass_a_large_one_that_came_before"),
    Bug("who fits passes", "gates", "if self._queue[0] is waiter:", "if True:", "a_small_call_does_not_pass_a_large_one_that_came_before"),
    Bug("no priorities", "gates", "favour * self.profile", "0 * favour * self.profile", "a_higher_priority_goes_first_and_a_lower_one_is_not_starved"),
    Bug("no ageing", "gates", "now - favour *", "-1e9 * favour *", "a_higher_priority_goes_first_and_a_lower_one_is_not_starved"),
    Bug("who leaves wakes nobody", "gates", "key=_rank)]\n                self.wake()", "key=_rank)]", "a_cancelled_waiter_gives_its_place_to_the_next"),
    Bug("a cancelled waiter stays", "gates", "            finally:\n                del self._queue", "            except ValueError:\n                del self._queue", "a_cancelled_waiter_gives_its_place_to_the_next"),
    Bug("a cancelled pace keeps its place", "gates", "            self.release(ticket)\n            raise", "            raise", "paced_calls_are_spread_over_the_minute_and_a_cancelled_one_is_given_back"),
    Bug("a cancelled call is given back", "limiter", "self._gate.cut(self._take())", "self.release()", STORM),
    Bug("a call that was left is never over", "gates", "self.book.finish(ticket, None)", "self.book.acked(ticket)", "a_call_that_was_left_in_flight_is_counted_when_the_limiter_is_closed"),
    Bug("calls at once are freed too early", "quotas", "        self._sent.total -= call.heavy\n", "        self._sent.total -= call.heavy\n        self._running.total -= call.heavy\n", "a_full_house_waits_for_whoever_leaves"),
    Bug("midnight in Greenwich", "windows", "day = datetime.fromtimestamp(wall, ZoneInfo(zone))", "zone = 'UTC'; day = datetime.fromtimestamp(wall, ZoneInfo(zone))", "a_day_is_granted_once_and_the_next_one_at_midnight_of_the_zone"),
    Bug("days of 24 hours", "windows", "return datetime.combine(day, time(), ZoneInfo(zone)).timestamp()", "return wall + 86_400", "a_day_is_granted_once_and_the_next_one_at_midnight_of_the_zone"),
    Bug("the wall's clock alone", "windows", "if slept or (wall >= self.midnight and now >= self.due):", "if wall >= self.midnight:", STEP, (3600.0,)),
    Bug("the monotonic clock alone", "windows", "if slept or (wall >= self.midnight and now >= self.due):", "if now >= self.due:", "a_wall_clock_that_steps_an_hour_grants_no_day_twice", (-3600.0, 11.5 * 3600)),
    Bug("calls in flight are forgotten at midnight", "windows", "self.tomorrow = self._flying.total", "self.tomorrow = 0", "a_call_in_flight_over_midnight_counts_on_both_sides"),
    Bug("a named limit is not kept", "learning", "self._named[dimension], self.idle = value, False", "pass", DROP, (True, 8, True, None)),
    Bug("no estimate", "learning", "            self._blind(hold, now)", "            pass", DROP, (False, 12, True, None)),
    Bug("an estimate is raised at once", "learning", "CLEAN_WINDOWS = 5", "CLEAN_WINDOWS = 0", DROP, (False, 12, True, None)),
    Bug("an estimate is never raised", "learning", "CLEAN_WINDOWS = 5", "CLEAN_WINDOWS = 5000", "a_limit_that_rises_again_is_found_again"),
    Bug("no pace", "limiter", "if gate.profile.pacing:", "if False:", "a_quantised_provider_is_content_with_paced_calls"),
]  # fmt: skip


class _Planting(SourceFileLoader):
    """Loads a module with a bug in it, and never from or to a cache."""

    bug: Bug | None = None

    def get_code(self, fullname: str) -> CodeType:
        text = self.get_data(self.path).decode()
        if self.bug:
            assert text.count(self.bug.old) == 1, f"{self.bug.old!r} is not once in {fullname}"
            text = text.replace(self.bug.old, self.bug.new)
        return self.source_to_code(text.encode(), self.path)


@contextmanager
def planted(bug: Bug | None) -> Generator[dict[str, Any]]:
    """The tests, over a copy of the limiter that has `bug`."""
    names = [*(f"massgen.limiter{name}" for name in RULES), *(f"tests.{name}" for name in TESTS)]
    before = {name: sys.modules.pop(name, None) for name in names}
    try:
        copies = [_copy(name, bug if bug and name.endswith(f".{bug.module}") else None) for name in names]
        yield {name: test for copy in copies[len(RULES) :] for name, test in vars(copy).items()}
    finally:
        sys.modules.update({name: module for name, module in before.items() if module})


def _copy(name: str, bug: Bug | None) -> ModuleType:
    spec = find_spec(name)
    assert spec
    assert spec.origin
    loader = _Planting(name, spec.origin)
    loader.bug = bug
    copied = spec_from_loader(name, loader)
    assert copied
    sys.modules[name] = copy = module_from_spec(copied)
    loader.exec_module(copy)
    return copy


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_is_caught(bug: Bug):
    with planted(bug) as tests, pytest.raises((AssertionError, pytest.fail.Exception)):
        tests[f"test_{bug.test}"](*bug.args)


def test_without_a_bug_such_a_copy_passes():
    with planted(None) as tests:
        for bug in BUGS[::6]:
            tests[f"test_{bug.test}"](*bug.args)
