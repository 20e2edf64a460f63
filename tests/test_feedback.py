import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massgen.limiter.feedback import MAX_WAIT, learned
from massgen.limiter.quotas import MOST, UNITS, Feedback

NOW = 1_795_000_000.0
DATE = formatdate(NOW, usegmt=True)
LATER = datetime.fromtimestamp(NOW + 1820, UTC).isoformat().replace("+00:00", "Z")


def gemini(message: str = "", **details: Any) -> str:
    """The body of Google's 429."""
    typed = [{"@type": f"type.googleapis.com/google.rpc.{kind}", **each} for kind, each in details.items()]
    return json.dumps({"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": typed}})


def quota(*violations: tuple[str, str]) -> dict[str, Any]:
    return {"violations": [{"quotaId": name, **({"quotaValue": value} if value else {})} for name, value in violations]}


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
TOKENS = "GenerateContentInputTokensPerModelPerMinute-FreeTier"
TOKENS_PER_DAY = "GenerateContentInputTokensPerModelPerDay-FreeTier"


# --- the headers of a success ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "headers", "limits"),
    [
        ("openai", {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}, {"rpm": 500, "tpm": 30000}),
        ("openai", {"X-RateLimit-Limit-Requests": " 500 "}, {"rpm": 500}),
        ("openai", {"llm_provider-x-ratelimit-limit-tokens": "30,000"}, {"tpm": 30000}),
        ("groq", {"x-ratelimit-limit-requests": "14400", "x-ratelimit-limit-tokens": "6000"}, {"rpd": 14400, "tpm": 6000}),
        ("azure_openai", {"x-ratelimit-limit-requests": "20", "x-ratelimit-limit-tokens": "20000"}, {"tpm": 20000}),
        ("grok", {"x-ratelimit-limit-requests": "150", "x-ratelimit-limit-tokens": "50000000"}, {"tpm": 50_000_000}),
        ("cerebras", {"x-ratelimit-limit-requests-day": "14400", "x-ratelimit-limit-tokens-minute": "60000"}, {"rpd": 14400, "tpm": 60000}),
        ("claude", {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-input-tokens-limit": "50000",
                    "anthropic-ratelimit-output-tokens-limit": "10000", "anthropic-ratelimit-tokens-limit": "60000"},
         {"rpm": 50, "itpm": 50000, "otpm": 10000}),
        ("gemini", {"x-ratelimit-limit-requests": "9"}, {}),
        ("chatcompletion", {"x-ratelimit-limit-requests": "9"}, {}),
    ],
)  # fmt: skip
def test_headers_name_the_limits_of_their_provider(
    provider: str, headers: dict[str, str], limits: dict[str, float]
) -> None:
    assert learned(provider, 200, headers) == Feedback(limits=limits)


@pytest.mark.parametrize(
    "value", ["", "-1", "0", "many", "1e3", "nan", "inf", "0x10", "\u0665", "9" * 30, "5.5", "unlimited"]
)
def test_a_header_that_is_no_sensible_number_teaches_nothing(value: str) -> None:
    assert learned("openai", 200, {"x-ratelimit-limit-requests": value}) == Feedback()


def test_a_success_has_no_wait_whatever_its_headers_and_body_say() -> None:
    body = gemini("limit: 0", RetryInfo={"retryDelay": "9s"}, QuotaFailure=quota((PER_DAY, "20")))
    assert learned("gemini", 200, {"retry-after": "20"}, body) == Feedback()
    assert learned("gemini", 400, {"retry-after": "20"}, body) == Feedback()


# --- how long to wait ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": formatdate(NOW + 30, usegmt=True), "date": DATE}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True), "date": DATE}, 0),
        ({"retry-after": formatdate(NOW + 40, usegmt=True)}, 40),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s",
          "x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "1h"}, 360),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms",
          "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2.5s"}, 62.5),
        ({"x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-tokens-minute": "12.5"}, 12.5),
        ({"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": LATER}, 1820),
        ({"x-ratelimit-remaining-requests": "0"}, None),
        ({"retry-after": "soon", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, 1),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "172800"}, None),
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "Fri, 32 Foo 2026 99:99:99 GMT"}, None),
        ({"retry-after": formatdate(NOW + 10 * MAX_WAIT, usegmt=True)}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_refusal_says_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert learned("openai", 429, headers, wall=NOW).retry_after == seconds


def test_a_time_of_day_needs_a_clock_and_the_replys_own_goes_first() -> None:
    later = formatdate(NOW + 30, usegmt=True)
    assert learned("openai", 429, {"retry-after": later}).retry_after is None
    assert learned("openai", 429, {"retry-after": later, "date": DATE}, wall=NOW + 3600).retry_after == 30
    assert learned("openai", 503, {"retry-after": "3"}).retry_after == 3


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please retry in 20.04s.", 20.04),
        ("Please try again in 7m12s. Visit", 432),
        ("Please try again in 1h2m3.5s.", 3723.5),
        ("Please try again in 858ms.", 0.858),
        ("Please retry after 45 seconds.", 45),
        ("Rate limit is exceeded. Try again in 30 seconds.", 30),
        ("Please try again in 1 second.", 1),
        ("Please try again in a while.", None),
    ],
)
def test_the_text_of_an_error_says_it_too(message: str, seconds: float | None) -> None:
    body = json.dumps({"error": {"message": message}})
    assert learned("openai", 429, {}, body).retry_after == seconds


# --- Google's errors -------------------------------------------------------------------------------------------------


def test_google_names_the_quota_its_value_and_the_delay() -> None:
    told = "* Quota exceeded for metric: x/generate_content_free_tier_requests, limit: 10\nPlease retry in 21s."
    body = gemini(told, QuotaFailure=quota((PER_MINUTE, "10")), RetryInfo={"retryDelay": "20.04s"})
    assert learned("gemini", 429, {}, body.encode()) == Feedback(
        limits={"rpm": 10}, retry_after=20.04, quota=PER_MINUTE
    )


@pytest.mark.parametrize(
    ("name", "limits", "per_day"),
    [
        (PER_DAY, {"rpd": 20}, True),
        (TOKENS, {"tpm": 20}, False),
        (TOKENS_PER_DAY, {"tpd": 20}, True),
        ("SomethingNew", {}, False),
    ],
)
def test_google_names_days_and_tokens(name: str, limits: dict[str, float], per_day: bool) -> None:
    feedback = learned("gemini", 429, {}, gemini(QuotaFailure=quota((name, "20"))))
    assert feedback == Feedback(limits=limits, per_day=per_day, quota=name)


def test_of_several_quotas_the_first_is_named_and_all_are_learned() -> None:
    body = gemini(QuotaFailure=quota((PER_MINUTE, "10"), (TOKENS, "250000"), (PER_MINUTE, "9"), (PER_DAY, "")))
    feedback = learned("gemini", 429, {}, body)
    assert feedback == Feedback(limits={"rpm": 9, "tpm": 250_000}, per_day=True, quota=PER_MINUTE)


@pytest.mark.parametrize("value", ["", "0"])
def test_a_limit_of_zero_is_no_quota(value: str) -> None:
    told = (
        "You exceeded it.\n* Quota exceeded for metric: x/free_tier_requests, limit: 0, model: m\nPlease retry in 9s."
    )
    body = gemini(told if not value else "", QuotaFailure=quota((PER_DAY, value)))
    feedback = learned("gemini", 429, {}, body)
    assert feedback.no_quota
    assert not feedback.per_day


@pytest.mark.parametrize("number", ["05", "0.5", "10"])
def test_a_limit_that_only_begins_or_ends_with_zero_is_some_quota(number: str) -> None:
    assert not learned("gemini", 429, {}, gemini(f"* Quota exceeded for metric: x, limit: {number}")).no_quota


WRAPPINGS: list[Callable[[str], str]] = [
    lambda body: f"litellm.RateLimitError: GeminiException - {body} and more",
    lambda body: f"[{body}]",
    lambda body: json.dumps({"error": {"message": body, "code": 429}}),
]


@pytest.mark.parametrize("wrapped", WRAPPINGS)
def test_an_error_is_found_in_other_text_in_a_list_and_in_its_own_message(wrapped: Callable[[str], str]) -> None:
    body = gemini(QuotaFailure=quota((PER_DAY, "20")))
    assert learned("gemini", 429, {}, wrapped(body)).limits == {"rpd": 20}


# --- other errors ----------------------------------------------------------------------------------------------------

REACHED = "Rate limit reached for `m` in organization `org-1` on "


@pytest.mark.parametrize(
    ("provider", "message", "expected"),
    [
        ("openai", f"{REACHED}tokens per min (TPM): Limit 30000, Used 28000, Requested 5000. Please try again in 6s.",
         Feedback(limits={"tpm": 30000}, retry_after=6, quota="tpm")),
        ("groq", f"{REACHED}tokens per day (TPD): Limit 100000, Used 99336, Requested 1247. Please try again in 8m23s.",
         Feedback(limits={"tpd": 100000}, retry_after=503, quota="tpd")),
        ("openai", f"{REACHED}requests per day (RPD): Limit 200, Used 200, Requested 1.",
         Feedback(limits={"rpd": 200}, per_day=True, quota="rpd")),
        ("claude", "This request would exceed your organization's rate limit of 50,000 input tokens per minute.",
         Feedback(limits={"itpm": 50000}, quota="itpm")),
        ("claude", "This would exceed the rate limit for your organization (0d-1b) of 20,000 output tokens per minute. See",
         Feedback(limits={"otpm": 20000}, quota="otpm")),
        ("grok", "Too many. Your team's rate limit is \u2014 Tokens per Minute (actual/limit): 65605/16000. See",
         Feedback(limits={"tpm": 16000}, quota="tpm")),
        ("grok", "Too many. Your team's rate limit is \u2014 Requests per Second (actual/limit): 9/8.", Feedback()),
        ("openrouter", "Rate limit exceeded: free-models-per-min. ", Feedback(quota="free-models-per-min")),
        ("claude", "This request would exceed your rate limit of 7 apples per day.", Feedback()),
        ("claude", "This would exceed the rate limit of 9 output tokens per day.", Feedback()),
        ("groq", f"{REACHED}tokens per minute (TPM): Limit {'9' * 25}, Requested 1", Feedback()),
    ],
)  # fmt: skip
def test_the_words_of_an_error_name_the_limit(provider: str, message: str, expected: Feedback) -> None:
    assert learned(provider, 429, {}, json.dumps({"error": {"message": message}})) == expected


def test_a_call_that_is_too_large_names_the_limit_but_no_time() -> None:
    body = json.dumps(
        {"error": {"message": "Request too large on tokens per minute (TPM): Limit 6000, Requested 9000"}}
    )
    assert learned("groq", 413, {"retry-after": "2"}, body) == Feedback(limits={"tpm": 6000}, quota="tpm")


def test_an_account_without_credit_has_no_quota() -> None:
    body = json.dumps({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}})
    assert learned("openai", 429, {}, body) == Feedback(no_quota=True)


def test_openrouter_tells_the_limit_and_the_moment_in_the_body() -> None:
    headers = {
        "X-RateLimit-Limit": "50",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": f"{NOW * 1000 + 3_600_000:.0f}",
    }
    error = {"message": "Rate limit exceeded: free-models-per-day-high-balance. Add", "metadata": {"headers": headers}}
    feedback = learned("openrouter", 429, {}, json.dumps({"error": error}), wall=NOW)
    named = "free-models-per-day-high-balance"
    assert feedback == Feedback(limits={"rpd": 50}, retry_after=3600, per_day=True, quota=named)


@pytest.mark.parametrize("reset", [f"{NOW + 60:.0f}", f"{NOW * 1000 + 60_000:.0f}"])
def test_a_moment_may_be_in_seconds_or_milliseconds_but_needs_a_clock(reset: str) -> None:
    assert learned("together", 429, {"x-ratelimit-reset": reset}, wall=NOW).retry_after == 60
    assert learned("together", 429, {"x-ratelimit-reset": reset}).retry_after is None


def test_azures_day_is_not_believed() -> None:
    body = '{"error": {"code": "429", "message": "exceeded token rate limit. Please retry after 86400 seconds."}}'
    assert learned("azure_openai", 429, {"retry-after": "86400"}, body) == Feedback()
    assert learned("azure_openai", 429, {"retry-after": "59"}, body).retry_after == 59
    assert learned("openai", 429, {"retry-after": "86400"}).retry_after == 86400


@pytest.mark.parametrize(
    "body",
    [
        "Error code: 429 - {'error': {'message': 'm', 'code': 'insufficient_quota'}}",
        '"Your team 16f-0 has either used all available credits or reached its monthly spending limit. To continue"',
    ],
)
def test_other_words_for_an_account_without_credit_are_understood(body: str) -> None:
    assert learned("grok", 429, {}, body).no_quota


# --- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe", "", "[]", "{", "null", "[" * 60_000, '{"error": ' * 20_000, '{"error": "text"}', '{"error": {}}',
        '{"error": {"details": 3}}', '{"error": {"details": [3, {"@type": 4}]}}', '{"error": {"code": ' + "9" * 5000 + "}}",
        gemini(QuotaFailure={"violations": 3}), gemini(QuotaFailure={"violations": [3, {"quotaId": 4}]}),
        gemini(RetryInfo={"retryDelay": 5}), gemini(RetryInfo={"retryDelay": "-5s"}),
        json.dumps({"error": {"message": json.dumps({"error": {"message": "{"}})}}),
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense_teaches_nothing(body: bytes | str) -> None:
    assert learned("gemini", 429, {}, body) == Feedback()


def test_a_quotas_name_is_short_and_printable() -> None:
    assert (
        learned("gemini", 429, {}, gemini(QuotaFailure=quota(("\x1b[2J" + "x" * 500, "1")))).quota == "[2J" + "x" * 96
    )


NAMES = ["retry-after", "retry-after-ms", "date", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests",
         "x-ratelimit-reset-requests", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset",
         "anthropic-ratelimit-requests-limit"]  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["0", "1s", "6m0s", "2026-11-18T10:27:00Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59+23:59", DATE]
    ),
    st.from_regex(r"\A\d{0,15}[.,:TZhms+-]{0,2}\d{0,5}(ms|s|h|GMT)?\Z"),
)
PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [PER_MINUTE, PER_DAY, TOKENS, "(TPM): Limit 5", "retry in 3s", "free-models-per-day", "0", "1e999"]
    ),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), PIECES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "metadata",
                    "headers",
                    "X-RateLimit-Reset",
                    "details",
                    "@type",
                    "violations",
                    "quotaId",
                    "quotaValue",
                    "retryDelay",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(
    provider=st.sampled_from(["openai", "groq", "claude", "gemini", "cerebras", "?"]),
    status=st.sampled_from([200, 413, 429, 503]),
    headers=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
    body=st.one_of(JSON.map(json.dumps), JSON.map(lambda each: json.dumps({"error": each})), st.binary(max_size=60)),
    wall=st.none() | st.floats(0, 4e9),
)
def test_whatever_a_provider_sends_what_is_learned_makes_sense(
    provider: str, status: int, headers: dict[str, str], body: bytes | str, wall: float | None
) -> None:
    feedback = learned(provider, status, headers, body, wall=wall)
    assert feedback.limits.keys() <= UNITS.keys()
    assert all(0 <= value <= MOST for value in feedback.limits.values())
    assert all(value or feedback.no_quota for value in feedback.limits.values())
    assert feedback.retry_after is None or 0 <= feedback.retry_after <= MAX_WAIT
    assert not (feedback.per_day and feedback.no_quota)
    assert len(feedback.quota) <= 100
