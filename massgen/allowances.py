"""What each provider allows: the user's rate limits over massgen's own. A file of them is read again when it changes."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massgen.backends.providers import PROVIDERS, key_name, litellm_row
from massgen.config import AgentConfig, BackendConfig, BackendType, Config
from massgen.config.limit_rules import GENERIC
from massgen.config.limits import RateLimit, RateLimits
from massgen.config.loading import Loaded, read_limits
from massgen.errors import ConfigError
from massgen.limiter.quotas import Limits, Profile

if TYPE_CHECKING:
    from massgen.discovery import Model

SHIPPED = Path(__file__).parent / "rate_limits.yaml"
OWN_SERVERS = ("local", "ollama", "lmstudio", "vllm", "sglang")
"""Providers that one runs oneself: what is said of any provider is not said of them."""
NUMBERS = ("rpm", "tpm", "itpm", "otpm", "rpd", "tpd", "concurrency", "cost")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a table: `where` the table is from, the entry's `provider` and `pattern` there, what it says."""

    where: str
    provider: str
    pattern: str
    says: RateLimit


@dataclass(frozen=True, slots=True)
class Allowance:
    """What applies to one model. Of the `rows` it is from, the first that says something goes before the others."""

    profile: Profile
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """Whose quota a call uses: the model at its provider, and a hash of the key, which stands for the account."""

    provider: str
    model: str
    scope: str = ""

    @property
    def key(self) -> str:
        """Its name in a store of quotas."""
        return f"{self.provider}/{self.model}" + (f"#{self.scope}" if self.scope else "")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a token of the prompt, and for one of the reply."""

    input: float
    output: float

    def of(self, taken: int, given: int) -> float:
        """What a call of so many tokens costs."""
        return self.input * taken + self.output * given


@cache
def shipped() -> RateLimits:
    """massgen's own table."""
    return read_limits(SHIPPED)


def seat(backend: BackendConfig, env: Mapping[str, str]) -> Seat:
    """The quota that the calls of `backend` use. litellm's `gemini/NAME` is NAME at `gemini`."""
    provider, model = _named(backend)
    row = litellm_row(backend.model) if provider == "litellm" else PROVIDERS[provider]
    given = backend.api_key.get_secret_value().strip() if backend.api_key else ""
    key = given or env.get(key_name(row, None, env), "").strip()
    place = backend.base_url or next((env[name] for name in row.url_variables if env.get(name)), "")
    account = f"{key}\n{place}".strip()
    return Seat(provider, model, hashlib.sha256(account.encode()).hexdigest()[:16] if account else "")


def _named(backend: BackendConfig) -> tuple[BackendType, str]:
    prefix, _, model = backend.model.partition("/")
    rows = PROVIDERS.values() if backend.type == "litellm" and model else ()
    own: list[BackendType] = [row.type for row in rows if row.litellm_prefix == f"{prefix}/" and row.key_variables]
    return (own[0], model) if own else (backend.type, backend.model)


@cache
def listed(provider: str, model: str) -> "Model | None":
    """What litellm's price list (40 ms when first read) says of `model`; None: it does not have it."""
    from massgen.discovery import price_list

    rows = (each for kind in PROVIDERS.values() if kind.type == provider for each in price_list(kind, date.min))
    return next((each for each in rows if each.name == model), None)


def price(provider: str, model: str) -> Price | None:
    """What a call costs, by litellm's price list; None: that has no price for `model`."""
    row = listed(provider, model)
    if row is None or row.input_price is None or row.output_price is None:
        return None
    return Price(row.input_price / 1e6, row.output_price / 1e6)


def limited(config: Config, agent: AgentConfig, allowance: Allowance | None) -> tuple[bool, str]:
    """Whether the calls of `agent` wait for their limits, and why."""
    if allowance is None:
        return False, "no limits are known"
    if agent.enable_rate_limit is not None:
        return agent.enable_rate_limit, "the agent's `enable_rate_limit`"
    if config.enable_rate_limit is not None:
        return config.enable_rate_limit, "`enable_rate_limit`"
    return True, "limits are known" if any(
        row.provider != GENERIC for row in allowance.rows
    ) else "replies may tell limits"


def switched(loaded: Loaded, on: bool) -> Loaded:
    """`loaded` with the limits of all agents on, or all off, whatever it says itself."""
    agents = [agent.model_copy(update={"enable_rate_limit": None}) for agent in loaded.config.agents]
    config = loaded.config.model_copy(update={"enable_rate_limit": on, "agents": agents})
    team = [
        {key: value for key, value in each.items() if key != "enable_rate_limit"} for each in loaded.source["agents"]
    ]
    return replace(loaded, config=config, source={**loaded.source, "agents": team, "enable_rate_limit": on})


class Allowances:
    """Asked at each call by provider (its type) and model, which `Limiter` does by calling it.

    Raises `ConfigError` if the file of limits is broken at first. One that breaks or vanishes later leaves the limits as
    they were; `tell` hears it, once for each such change.
    """

    def __init__(
        self,
        own: RateLimits | Path | None = None,
        *,
        where: str = "the configuration",
        elsewhere: Iterable[tuple[str, str]] = (),
        tell: Tell = lambda what: None,
    ) -> None:
        self._file, self._where, self._tell = own if isinstance(own, Path) else None, where, tell
        self._elsewhere = frozenset(elsewhere)
        self._found: dict[tuple[str, str], Allowance | None] = {}
        self._signature = self._sign()
        self._own = read_limits(own) if isinstance(own, Path) else own or {}

    @classmethod
    def of(cls, loaded: Loaded, tell: Tell = lambda what: None) -> "Allowances":
        """Those of a configuration. massgen's own table says nothing of a model at an address of the user's own."""
        limits = loaded.config.rate_limits
        own = loaded.limits_file or (limits if isinstance(limits, dict) else None)
        backends = [agent.backend for agent in loaded.config.agents]
        elsewhere = [_named(each) for each in backends if each.base_url and not PROVIDERS[each.type].needs_base_url]
        where = str(loaded.limits_file or next(iter(loaded.files), "the configuration"))
        return cls(own, where=where, elsewhere=elsewhere, tell=tell)

    def __call__(self, provider: str, model: str) -> Profile | None:
        """What `Limiter` is to keep to."""
        allowance = self.find(provider, model)
        return allowance.profile if allowance else None

    def find(self, provider: str, model: str) -> Allowance | None:
        """What applies to `model`, and from where: its exact name goes before a pattern, the longest one of these, and that
        before `default`. None: nothing is known, and nothing is said of any provider either."""
        self._refresh()
        key = (provider, model)
        if key not in self._found:
            self._found[key] = self._search(provider, model)
        return self._found[key]

    def _search(self, provider: str, model: str) -> Allowance | None:
        tables = [(self._where, self._own)]
        tables += [] if (provider, model) in self._elsewhere else [("massgen", shipped())]
        rows = _rows(tables, provider, model)
        if not rows and provider not in OWN_SERVERS:
            rows = _rows([(self._where, self._own), ("massgen", shipped())], GENERIC, model)
        return Allowance(_profile(provider, rows), rows) if rows else None

    def _refresh(self) -> None:
        if self._file is None or (now := self._sign()) == self._signature:
            return
        self._signature = now
        try:
            self._own = read_limits(self._file)
        except ConfigError as error:
            self._tell(f"{error}\n  The rate limits stay as they were.")
        else:
            self._found.clear()
            self._tell(f"{self._file}: changed; its rate limits apply from now on")

    def _sign(self) -> tuple[int, int, int] | None:
        """What changes when the file does; None while there is none."""
        if self._file is None:
            return None
        try:
            found = os.stat(self._file)
        except (OSError, ValueError):
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _rows(tables: Sequence[tuple[str, RateLimits]], provider: str, model: str) -> tuple[Row, ...]:
    """The best entry of each table that has one for `model` of `provider`."""
    found: list[Row] = []
    for where, table in tables:
        entries = table.get(provider, {})
        patterns = sorted((each for each in entries if fnmatchcase(model, each)), key=len, reverse=True)
        best = next((each for each in (model, *patterns, GENERIC) if each in entries), None)
        found += [] if best is None else [Row(where, provider, best, entries[best])]
    return tuple(found)


def _profile(provider: str, rows: Sequence[Row]) -> Profile:
    """What the rows say together; of each value the first row's that has it."""
    said: dict[str, Any] = {}
    for row in reversed(rows):
        own = row.says.model_dump(include=row.says.model_fields_set)
        if own.keys() & {*NUMBERS}:
            said |= {"source": row.where, "checked": ""}
        if row.where != "massgen":
            said["own"] = frozenset({*said.get("own", ()), *own.keys() & {*NUMBERS}})
        said |= own
    limits = {each.name: said[each.name] for each in fields(Limits) if each.name in said}
    return Profile(
        limits=Limits(**limits),
        source=said.get("source", ""),
        checked=said.get("checked", ""),
        pacing=said.get("per_second", False),
        cooldown=said.get("cooldown_seconds", 0.0),
        own=said.get("own", frozenset()),
        failed_calls_count=said.get("failed_calls_count", True),
        dialect=provider,
    )
