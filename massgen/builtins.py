"""What each provider offers beyond chat: which settings it has, and what they are called in its requests. Pure data.

Each row is what the provider's own documentation says (`sources`), where it is spoken to as massgen does; in doubt a
setting is left out, and `extra_body` remains. Which of its models take a setting, the provider tells.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias, cast

Fields: TypeAlias = Mapping[str, str]
"""A setting, as the configuration calls it -> the field of the request, dots between its levels."""

SETTINGS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_tokens",
    "seed": "seed",
    "stop": "stop",
    "reasoning.effort": "reasoning effort",
    "reasoning.summary": "reasoning summary",
    "text.verbosity": "text verbosity",
    "enable_web_search": "web search",
    "enable_code_execution": "code execution",
}
"""What a provider may have, and the words for it."""
_ALIAS = {"enable_code_interpreter": "enable_code_execution"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """A row: what one type of provider has."""

    sources: tuple[str, ...]
    """Pages of its documentation."""
    checked: str = "2026-11-21"
    """When they were read."""
    fields: Fields
    responses: Fields = field(default_factory=dict[str, str])
    """The same in its Responses API, which it is asked by instead where that is needed: see `plan`."""
    responses_models: str = "(?!)"
    """Names of models that need the Responses API in any case."""
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """A built-in -> its entry among the request's tools."""
    along: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields that go with those."""
    toolless_models: str = "(?!)"
    """Names of models that cannot have them, since all our agents have functions to call."""
    note: str = ""
    """What to know, or to do instead."""

    @property
    def has(self) -> set[str]:
        return {*self.fields, *self.responses, *self.tools}


_SAMPLING = {name: name for name in ("temperature", "top_p", "max_tokens", "stop")}
_PLAIN = _SAMPLING | {"seed": "seed"}
_COMPLETION = {"max_tokens": "max_completion_tokens"}
_EFFORT = {"reasoning.effort": "reasoning_effort"}
_VERBOSITY = {"text.verbosity": "verbosity"}
_XAI_RESPONSES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "reasoning.effort": "reasoning.effort",
}
_RESPONSES = _XAI_RESPONSES | {"reasoning.summary": "reasoning.summary", "text.verbosity": "text.verbosity"}
_OWN_TOOLS = "Its own tools, if it has any, go into `extra_body`: `{tools: [...]}` adds to those of massgen."

TABLE: Mapping[str, Support] = MappingProxyType({
    "local": Support(
        sources=("https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",),
        fields=_PLAIN,
    ),
    "chatcompletion": Support(
        sources=("https://developers.openai.com/api/reference/resources/chat",),
        fields=_PLAIN | _EFFORT | _VERBOSITY,
        note=f"Settings are sent under OpenAI's names. {_OWN_TOOLS}",
    ),
    "openai": Support(
        sources=(
            "https://developers.openai.com/api/reference/resources/chat",
            "https://developers.openai.com/api/reference/resources/responses",
            "https://developers.openai.com/api/docs/guides/tools",
        ),
        # Its reasoning models refuse max_tokens; all others know both.
        fields=_PLAIN | _COMPLETION | _EFFORT | _VERBOSITY,
        responses=_RESPONSES,
        # From GPT-5.4 on chat completions have either functions or reasoning; pro and codex models never were there.
        responses_models=r"gpt-5\.([4-9]|\d\d)|gpt-([6-9]|1\d)(?!\d)|^o\d-pro|gpt-5-pro|codex",
        tools={
            "enable_web_search": {"type": "web_search"},
            "enable_code_execution": {"type": "code_interpreter", "container": {"type": "auto"}},
        },
        note="`seed` and `stop` are not in its Responses API, which built-ins, `reasoning.summary` and GPT-5.4 or newer need.",
    ),
    "openrouter": Support(
        sources=(
            "https://openrouter.ai/docs/api-reference/parameters",
            "https://openrouter.ai/docs/guides/best-practices/reasoning-tokens",
            "https://openrouter.ai/docs/guides/features/server-tools",
        ),
        fields=_PLAIN | {name: name for name in ("reasoning.effort", "reasoning.summary")},
        tools={"enable_web_search": {"type": "openrouter:web_search"}},
        note="Its sandbox is not in chat completions.",
    ),
    "groq": Support(
        sources=("https://console.groq.com/docs/api-reference", "https://console.groq.com/docs/tool-use/built-in-tools"),
        fields=_PLAIN | _COMPLETION | _EFFORT,
        note="Its browser search is in few models, and not said to work beside functions.",
    ),
    "together": Support(
        sources=(
            "https://docs.together.ai/reference/chat-completions-1",
            "https://docs.together.ai/docs/inference/chat/reasoning",
        ),
        fields=_PLAIN | _EFFORT,
    ),
    "fireworks": Support(
        sources=("https://docs.fireworks.ai/api-reference/post-chatcompletions",),
        fields=_PLAIN | _EFFORT,
    ),
    "cerebras": Support(
        sources=("https://inference-docs.cerebras.ai/api-reference/chat-completions",),
        fields=_PLAIN | _COMPLETION | _EFFORT,
    ),
    "moonshot": Support(
        sources=("https://platform.kimi.ai/docs/api/chat", "https://platform.kimi.ai/docs/api/models-overview"),
        fields=_SAMPLING | _COMPLETION,
        note="Thinking is set by `extra_body`: `{thinking: {type: disabled}}`. Its `$web_search` wants its calls sent back.",
    ),
    "zai": Support(
        sources=("https://docs.z.ai/api-reference/llm/chat-completion",),
        fields=_SAMPLING,
        note="Thinking is set by `extra_body`: `{thinking: {type: disabled}}`.",
    ),
    "nebius": Support(
        sources=("https://docs.tokenfactory.nebius.com/api-reference/inference/create-chat-completion",),
        fields=_SAMPLING,
    ),
    "poe": Support(sources=("https://creator.poe.com/api-reference/createChatCompletion",), fields=_SAMPLING),
    "grok": Support(
        sources=("https://docs.x.ai/docs/api-reference", "https://docs.x.ai/developers/tools/advanced-usage"),
        fields=_PLAIN | _EFFORT,
        responses=_XAI_RESPONSES,
        tools={"enable_web_search": {"type": "web_search"}, "enable_code_execution": {"type": "code_interpreter"}},
        note="`seed` and `stop` are not in its Responses API, which built-ins need.",
    ),
    "ollama": Support(sources=("https://docs.ollama.com/api/openai-compatibility",), fields=_PLAIN | _EFFORT),
    "lmstudio": Support(sources=("https://lmstudio.ai/docs/developer/openai-compat/chat-completions",), fields=_PLAIN),
    "vllm": Support(
        sources=("https://docs.vllm.ai/en/latest/serving/openai_compatible_server/",),
        fields=_PLAIN | _EFFORT,
    ),
    "sglang": Support(
        sources=("https://docs.sglang.ai/basic_usage/openai_api_completions.html",),
        fields=_PLAIN | _EFFORT,
    ),
    "claude": Support(
        sources=(
            "https://platform.claude.com/docs/en/api/messages",
            "https://platform.claude.com/docs/en/about-claude/models/migration-guide",
            "https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool",
            "https://platform.claude.com/docs/en/agents-and-tools/tool-use/code-execution-tool",
        ),
        fields=_SAMPLING | _EFFORT,
        tools={
            "enable_web_search": {"type": "web_search_20250305", "name": "web_search"},
            "enable_code_execution": {"type": "code_execution_20250825", "name": "code_execution"},
        },
        note="Models from Opus 4.7 on refuse `temperature` and `top_p`. Its thoughts are shown in summary wherever "
        "`reasoning.effort` is set.",
    ),
    "gemini": Support(
        sources=(
            "https://ai.google.dev/api/generate-content",
            "https://ai.google.dev/gemini-api/docs/tool-combination",
        ),
        fields=_PLAIN | _EFFORT,
        tools={"enable_web_search": {"googleSearch": {}}, "enable_code_execution": {"codeExecution": {}}},
        along={"include_server_side_tool_invocations": True},
        toolless_models=r"gemini-(1|2)\b",
        note="Built-ins need Gemini 3 or newer: older models have either them or functions, which every agent needs.",
    ),
    "azure_openai": Support(
        sources=(
            "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference",
            "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/how-to/reasoning",
        ),
        fields=_PLAIN | _EFFORT | _VERBOSITY,
        note="Reasoning effort and text verbosity need a deployment that is named like its model. For built-ins take "
        "`type: openai` with `base_url: https://NAME.openai.azure.com/openai/v1`.",
    ),
    "replay": Support(
        sources=("https://massgen.github.io/massgen/guides/sessions/",),
        fields={},
        note="What the recorded model was set to may stay in its section, and changes nothing.",
    ),
    "litellm": Support(
        sources=("https://docs.litellm.ai/docs/completion/input",),
        fields=_PLAIN | _EFFORT | _VERBOSITY,
        note=f"litellm refuses by name what a model has not. {_OWN_TOOLS}",
    ),
})  # fmt: skip
"""A row for every type that a configuration can name."""


def having(setting: str) -> list[str]:
    """The types that have `setting`, in the order of the alphabet."""
    return sorted(kind for kind, row in TABLE.items() if setting in row.has)


def unsupported(kind: str, backend: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The settings in `backend`, of any shape, that a provider of type `kind` has not: where, and why with those that have."""
    row, given, model = TABLE[kind], _given(backend), _model(backend)
    fields = _fields(row, given, model)
    for setting in given:
        where = tuple(_key(setting, backend).split("."))
        if setting not in row.has:
            note = f" {row.note}" if row.note else ""
            yield where, f"{kind} has no {SETTINGS[setting]}; those that have: {', '.join(having(setting))}.{note}"
        elif setting in row.tools and re.search(row.toolless_models, model):
            yield where, f"{model[:60]} has no {SETTINGS[setting]} beside functions. {row.note}"
        elif setting not in row.tools and setting not in fields:
            yield (
                where,
                f"{kind} has no {SETTINGS[setting]} in the API that the other settings or the model need. {row.note}",
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """How a backend is asked: by the Responses API or not, and the fields of each request."""

    responses: bool
    options: Mapping[str, Any]


def plan(kind: str, backend: Mapping[str, Any]) -> Plan:
    """The settings in `backend` as fields of the requests to a provider of type `kind`."""
    row, given = TABLE[kind], _given(backend)
    fields = _fields(row, given, _model(backend))
    options: dict[str, Any] = {}
    for setting in (name for name in given if name in fields):
        *above, last = fields[setting].split(".")
        place = options
        for step in above:
            place = place.setdefault(step, {})
        place[last] = given[setting]
    if tools := [dict(tool) for setting, tool in row.tools.items() if setting in given]:
        options |= {"tools": tools, **row.along}
    if extra := backend.get("extra_body"):
        options["extra_body"] = extra
    return Plan(bool(row.responses) and fields is row.responses, options)


def _fields(row: Support, given: Mapping[str, Any], model: str) -> Fields:
    """Those of the API to be used. A model that reasons not at all needs no Responses API for its functions."""
    for_model = re.search(row.responses_models, model) and given.get("reasoning.effort") != "none"
    for_settings = any(setting in row.has and setting not in row.fields for setting in given)
    return row.responses if row.responses and (for_model or for_settings) else row.fields


def _given(backend: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are on, or have a value, by their names in `SETTINGS`."""
    flat: dict[str, Any] = {}
    for name, value in backend.items():
        if name in ("reasoning", "text") and isinstance(value, Mapping):
            flat |= {f"{name}.{key}": inner for key, inner in cast("Mapping[str, Any]", value).items()}
        elif value is not False:
            flat[_ALIAS.get(name, name)] = value
    return {name: value for name, value in flat.items() if name in SETTINGS and value is not None}


def _key(setting: str, backend: Mapping[str, Any]) -> str:
    """The key that set it."""
    return next((alias for alias, name in _ALIAS.items() if name == setting and backend.get(alias)), setting)


def _model(backend: Mapping[str, Any]) -> str:
    model = backend.get("model")
    return model if isinstance(model, str) else ""
