"""The handbook's page of rate limits, from massgen's own table."""

from massgen.allowances import NUMBERS, shipped
from massgen.config.limits import RateLimit
from massgen.limiter.quotas import UNITS

HEAD = """# Rate limits

<!-- Written by `make docs-update` from `massgen/rate_limits.yaml`. Change it there. -->

What massgen assumes that each provider allows, until you or a reply of the provider say otherwise. `massgen limits show`
prints this table; `massgen limits show FILE` what applies to the models of a configuration, and from where that is;
`massgen limits status FILE` what of it is used now.

## Your own

Accounts differ, so write what yours allows under `rate_limits`: by `type` of provider, then by model.

```yaml title="team.yaml"
agents:
  - backend: {type: gemini, model: gemini-flash-latest}
  - backend: {type: gemini, model: gemini-pro-latest}
rate_limits:
  gemini:
    gemini-*flash*: {rpm: 1000, tpm: 1000000, rpd: null}
    default: {rpm: 150}
```

- A model's exact name goes before a pattern (`*`, `?`, `[...]`), the longest pattern before others, and these before
  `default`. Your entry goes before massgen's, value by value: what you leave out is as in the table below.
- `null` is no limit. 0 is no quota: each call fails at once with an error that says so.
- The provider `default` is any provider that has no entry, but not the servers you run yourself (`local`, `ollama`,
  `lmstudio`, `vllm`, `sglang`).
- Of a model at a `base_url` of your own massgen assumes nothing, except at `azure_openai`.
- All that can be written: [`rate_limits.*.*`](configuration.md#rate_limits).
- `rate_limits: limits.yaml` is a file with the same, sought from the folder of the configuration. A change takes effect at
  the next call. A file that breaks or vanishes while a team is at work leaves the limits as they were, and that is told.

Calls keep to the limits wherever there are any; `enable_rate_limit: false` ends that for the team, or beside an agent's
`backend` for that agent, and `--no-rate-limit` or `--rate-limit` for one question, whatever the file says.

Calls with the same model and the same key share a quota. To the provider it is the account that counts: with several keys of
one account write lower limits.

## What massgen assumes

Numbers are those of the smallest account that the source has. Gemini's are one less, but for Pro's requests a minute. Of its
newer models none are published: these are taken to be like the older ones."""


def limits_page() -> str:
    """The rules, then each row of the table with its source and date."""
    heads = ["`type`", "model", "limits", "manner", "source", "as of"]
    rows = [
        [f"`{provider}`", f"`{model}`", _numbers(entry), _manner(entry), _source(entry), entry.checked]
        for provider, models in shipped().items()
        for model, entry in models.items()
    ]
    cells = [heads, ["---"] * len(heads), *rows]
    table = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
    units = "; ".join(f"`{name}` {UNITS[name]}" for name in NUMBERS)
    return f"{HEAD}\n\n{table}\n\nThe limits are {units}.\n"


def _numbers(entry: RateLimit) -> str:
    given = {name: getattr(entry, name) for name in NUMBERS if getattr(entry, name) is not None}
    return ", ".join(f"`{name}` {value:,.12g}" for name, value in given.items()) or "those that replies tell"


def _manner(entry: RateLimit) -> str:
    told = {
        f"days begin at midnight in {entry.day_zone}": entry.day_zone != "UTC",
        "only tokens of the prompt count": entry.counts == "input",
        "calls go out evenly": entry.per_second,
        f"agents start {entry.cooldown_seconds:g} s apart": entry.cooldown_seconds,
    }
    return "; ".join(words for words, applies in told.items() if applies)


def _source(entry: RateLimit) -> str:
    return f"[{entry.source.removeprefix('https://').partition('/')[0]}]({entry.source})" if entry.source else ""
