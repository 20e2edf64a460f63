import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from massgen.errors import BackendError, QuotaError
from massgen.limiter.learning import LESSONS, LONGEST, Learner
from massgen.limiter.quotas import Feedback, Limits, Profile, Weights
from tests.judge import MORNING, perform
from tests.test_limiter import ONE, Desk, limited, near, scene


def learner(lessons: list[str] | None = None) -> Learner:
    return Learner((lessons if lessons is not None else list[str]()).append)


@scene
async def test_a_named_limit_is_kept_from_then_on_and_told_once():
    desk = Desk(limited(rpm=5))
    for _ in range(2):
        await desk.refused(Feedback(limits={"rpm": 2, "colour": 7, "tpm": float("nan"), "itpm": -1}))
    assert desk.lessons == ["gemini/flash: the provider allows 2 requests a minute, not 5: keeping to that"]
    assert await desk.call() >= 60


@scene
async def test_the_headers_of_a_success_teach_too():
    desk = Desk(limited(rpm=5))
    async with desk.slot() as slot:
        slot.acked(Feedback(limits={"rpm": 1, "tpm": 1000}))
    assert await desk.call() == near(60)
    assert [lesson.split(": ")[1] for lesson in desk.lessons] == [
        "the provider allows 1 requests a minute, not 5",
    ]  # where nothing was assumed, a reply corrects nothing


@scene
async def test_a_refusal_holds_the_key_as_long_as_the_provider_says():
    desk = Desk(limited(rpm=50))
    await desk.refused(Feedback(limits={"rpm": 50}, retry_after=17.5, quota="PerMinute"))
    assert await desk.call() == near(17.5)
    assert desk.waits[0].dimension == "PerMinute"


@scene
async def test_refusals_that_say_nothing_hold_longer_each_time_until_one_call_succeeds():
    desk, pauses = Desk(limited(rpm=50)), list[float]()
    for _ in range(6):
        began = desk.loop.time()
        await desk.refused(Feedback(limits={"rpm": 50}))
        async with desk.slot():
            pauses.append(desk.loop.time() - began)
    assert pauses == [near(each) for each in (5, 10, 20, 40, 80, 80)]
    await desk.call()
    await desk.refused(Feedback(limits={"rpm": 50}))
    began = desk.loop.time()
    assert await desk.call() - began == near(5)


@scene
async def test_a_days_quota_that_is_used_up_holds_until_midnight_of_the_zone():
    desk = Desk(limited(rpm=50, day_zone="America/Los_Angeles"))
    await desk.refused(Feedback(per_day=True, quota="RequestsPerDay"))
    assert await desk.call() == near(23 * 3600)
    assert (
        "the day's quota is used up (RequestsPerDay): no call before midnight in America/Los_Angeles" in desk.lessons[0]
    )


@pytest.mark.parametrize("limits", [{}, {"rpd": 0.0}])
def test_a_model_without_quota_is_not_asked_again(limits: Mapping[str, float]):
    async def play() -> None:
        desk = Desk(limited(rpm=50))
        await desk.refused(Feedback(no_quota=True, limits=limits, quota="FreeTier"))
        with pytest.raises(QuotaError, match="gemini/flash: no quota: the limit is 0 requests a"):
            await desk.call()
        assert "gemini/flash: the provider gives no quota (FreeTier)" in desk.lessons

    perform(play)


def test_a_nameless_refusal_is_answered_by_what_succeeded_in_the_window_before():
    lessons = list[str]()
    taught, base = learner(lessons), Limits(rpm=20)
    for at in range(12):
        taught.succeeded(float(at))
    assert taught.refused(Feedback(), base, 20.0, MORNING) == 5.0
    taught.succeeded(21.0)  # was under way
    assert taught.limits(base, ONE, 21.0) is base
    assert taught.limits(base, ONE, 25.0).rpm == 13
    assert lessons == ["the provider refuses calls without naming a limit: going on with 13 requests a minute"]


def test_an_estimate_is_raised_after_five_clean_windows_and_after_ten_once_that_was_refused():
    taught, base = learner(), Limits(rpm=3)
    taught.succeeded(0.0)
    taught.refused(Feedback(), base, 0.0, MORNING)
    assert taught.limits(base, ONE, 5.0).rpm == 1
    assert [taught.limits(base, ONE, 5.0 + after).rpm for after in (299, 300)] == [1, 2]
    taught.refused(Feedback(retry_after=1.0), base, 310.0, MORNING)
    assert [taught.limits(base, ONE, 311.0 + after).rpm for after in (0, 599, 600)] == [1, 1, 2]
    assert taught.limits(base, ONE, 1600.0) is base


def test_an_estimate_never_exceeds_what_was_refused_nor_what_is_named():
    taught, base = learner(), Limits()
    for _ in range(50):
        taught.succeeded(1.0)
    taught.refused(Feedback(), base, 2.0, MORNING)
    assert taught.limits(base, ONE, 60.0).rpm == 50
    taught.learn(Feedback(limits={"rpm": 30}), base)
    assert taught.limits(base, ONE, 60.0).rpm == 30


@scene
async def test_what_is_known_of_a_refusal_may_be_its_headers_or_its_error():
    desk = Desk(Profile(limits=Limits(rpm=50), dialect="claude"))
    async with desk.slot() as slot:
        slot.rejected({"Retry-After": "7", "Anthropic-RateLimit-Requests-Limit": "2"})
    assert desk.limiter.counts()["gemini/flash"].learned == {"rpm": 2}
    assert await desk.call() == near(7)
    async with desk.slot() as slot:
        slot.rejected(BackendError("HTTP 429", transient=True, retry_after=70.0))
    assert await desk.call() == near(130)  # refused at 60
    async with desk.slot() as slot:
        slot.acked({"anthropic-ratelimit-requests-limit": "1"})
    assert desk.limiter.counts()["gemini/flash"].learned == {"rpm": 1}


@scene
async def test_headers_are_read_as_the_provider_writes_them_where_the_profile_names_no_dialect():
    desk = Desk(limited(rpm=50))
    async with desk.limiter.slot("openai", "gpt", estimate=ONE) as slot:
        slot.acked({"x-ratelimit-limit-requests": "3"})
    assert desk.limiter.counts()["openai/gpt"].learned == {"rpm": 3}


@scene
async def test_a_call_that_is_larger_than_what_was_learned_goes_alone():
    desk = Desk(limited(tpm=1000))
    await desk.call(Weights(40))
    async with desk.slot() as slot:
        slot.acked(Feedback(limits={"tpm": 50, "itpm": 30}))
    assert await desk.call(Weights(400)) == near(60)
    with pytest.raises(QuotaError, match="a call of 1,001 is larger than the limit of 1,000 tokens a minute"):
        await desk.call(Weights(1001))


@scene
async def test_a_limit_that_is_named_higher_again_is_kept_but_never_beyond_the_users_own():
    desk = Desk(replace(limited(rpm=5), own=frozenset({"rpm"})))
    for value in (2.0, 900.0):
        async with desk.slot() as slot:
            slot.acked(Feedback(limits={"rpm": value}))
    assert desk.limiter.counts()["gemini/flash"].learned == {}
    assert len(desk.lessons) == 1


def test_a_number_of_massgens_own_table_is_raised_by_the_reply_that_names_a_higher_one():
    taught, base = Learner([].append, lambda name: name == "rpd"), Limits(rpm=5, rpd=10)
    taught.learn(Feedback(limits={"rpm": 900, "rpd": 900}), base)
    assert (taught.limits(base, ONE, 0.0).rpm, taught.limits(base, ONE, 0.0).rpd) == (900, 10)


def test_one_refusal_where_nothing_succeeded_is_no_estimate_and_two_are():
    taught, base = learner(), Limits(rpm=9)
    taught.refused(Feedback(retry_after=1.0), base, 0.0, MORNING)
    assert taught.limits(base, ONE, 1.0) is base
    taught.refused(Feedback(retry_after=1.0), base, 1.0, MORNING)
    assert taught.limits(base, ONE, 2.0).rpm == 1


@pytest.mark.parametrize("wait", [-1.0, math.nan, math.inf, LONGEST + 1])
def test_nonsense_as_a_wait_is_none(wait: float):
    assert learner().refused(Feedback(limits={"rpm": 50}, retry_after=wait), Limits(rpm=50), 1.0, MORNING) == 5.0


def test_a_days_quota_is_believed_to_come_back_when_the_provider_says_where_it_documents_no_midnight():
    lessons = list[str]()
    told = Feedback(per_day=True, retry_after=432.0)
    assert learner(lessons).refused(told, Limits(rpd=200), 0.0, MORNING) == 432.0
    assert lessons == ["the day's quota is used up: no call for 432 s"]
    google = Limits(rpd=200, day_zone="America/Los_Angeles")
    assert learner().refused(told, google, 0.0, MORNING) == 23 * 3600
    assert learner().refused(Feedback(per_day=True), Limits(rpd=200), 0.0, MORNING) == 15 * 3600


def test_a_provider_that_changes_its_mind_at_each_reply_does_not_fill_the_screen():
    lessons = list[str]()
    taught = learner(lessons)
    for value in range(5000, 1000, -1):
        taught.learn(Feedback(limits={"rpm": value}), Limits())
    assert len(lessons) == LESSONS
    assert taught.limits(Limits(), ONE, 0.0).rpm == 1001


def test_an_estimate_that_was_often_refused_is_still_raised_after_eighty_windows():
    taught, base, now = learner(), Limits(rpm=9), 0.0
    taught.succeeded(now)
    for _ in range(12):
        taught.refused(Feedback(retry_after=1.0), base, now, MORNING)
        assert taught.limits(base, ONE, now + 1).rpm == 1
        now += 2
    assert taught.limits(base, ONE, now + 79 * 60).rpm == 1
    assert taught.limits(base, ONE, now + 80 * 60).rpm == 2
