"""The handbook's page of providers, from the tables of `massgen.builtins` and `massgen.backends.providers`."""

from massgen.backends.providers import PROVIDERS, Provider
from massgen.builtins import SETTINGS, TABLE, Support

HEAD = """# Providers

<!-- Written by `make docs-update` from `massgen/builtins.py` and `massgen/backends/providers.py`. Change it there. -->

What each `type` of a `backend` has. A setting that its provider has not is an error, which names those that have;
which of a provider's models take a setting, the provider tells. Any field of a request can be given in `extra_body`,
which is sent as it is; only its `tools` are added to those that massgen itself offers."""

SHORT = {
    "reasoning.effort": "`reasoning:` `effort`",
    "reasoning.summary": "`reasoning:` `summary`",
    "text.verbosity": "`text:` `verbosity`",
    "enable_web_search": "`enable_` `web_search`",
    "enable_code_execution": "`enable_` `code_execution`",
}
"""Heads of columns that may break."""


def providers_page() -> str:
    """What each provider has, how it is reached, and from where that is known."""
    heads = ["`type`", *(SHORT.get(name, f"`{name}`") for name in SETTINGS)]
    support = [[f"`{kind}`", *("yes" if name in row.has else "no" for name in SETTINGS)] for kind, row in TABLE.items()]
    reached = [[f"`{kind}`", row.title, _wire(row, TABLE[kind]), _keys(row)] for kind, row in PROVIDERS.items()]
    known = [[f"`{kind}`", row.note, _sources(row), row.checked] for kind, row in TABLE.items()]
    blocks = [
        HEAD,
        f"## Settings\n\n{_table(heads, support)}",
        "`enable_code_interpreter` is another name of `enable_code_execution`.",
        f"## Where and with which key\n\n{_table(['`type`', 'provider', 'asked by', 'key from'], reached)}",
        f"## Notes and sources\n\n{_table(['`type`', 'to know', 'sources', 'checked'], known)}",
    ]
    return "\n\n".join(blocks) + "\n"


def _wire(row: Provider, support: Support) -> str:
    named = {
        "chat_completions": "chat completions",
        "gateway": "litellm",
        "local": "its own process",
        "replay": "reading its log",
    }
    return f"{named[row.wire]}, or the Responses API" if support.responses else named[row.wire]


def _keys(row: Provider) -> str:
    variables = " or ".join(f"`{name}`" for name in row.key_variables)
    return f"{variables} ([make one]({row.key_page}))" if variables else "none"


def _sources(row: Support) -> str:
    return " ".join(f"[{number}]({page})" for number, page in enumerate(row.sources, 1))


def _table(heads: list[str], rows: list[list[str]]) -> str:
    cells = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells)
