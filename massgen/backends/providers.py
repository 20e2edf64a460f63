"""The providers: where each one is, which wire it speaks, and which variable holds its key.

Addresses and variables are those of litellm 1.106, so that a key set for one works for the other.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from yarl import URL

from massgen.config import BackendType
from massgen.errors import ConfigError

Wire: TypeAlias = Literal["chat_completions", "gateway", "local", "replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A row of the table."""

    type: BackendType
    """Its name in a configuration."""
    title: str
    """Its name for people."""
    wire: Wire = "chat_completions"
    """`chat_completions` is spoken directly; `gateway` is litellm; `local` is the embedded model; `replay` a session's log."""
    base_url: str = ""
    """Where it is, unless the configuration says otherwise."""
    url_variables: tuple[str, ...] = ()
    """Variables that say where it is, the first that is set before `base_url`."""
    needs_base_url: bool = False
    """Whether it is nowhere in particular: someone has to say where."""
    key_variables: tuple[str, ...] = ()
    """Variables that hold its key, the first that is set. None: it needs no key, or (litellm) finds it itself."""
    key_page: str = ""
    """Where a key is made. Empty: it may do without."""
    litellm_prefix: str = ""
    """How the names of its models begin in litellm."""
    lists_models: bool = False
    """Whether `model` may be left out: the first model that the server lists."""


_ROWS = (
    Provider(type="local", title="embedded model", wire="local"),
    Provider(type="chatcompletion", title="OpenAI-compatible server", needs_base_url=True, litellm_prefix="openai/"),
    Provider(
        type="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        key_page="https://platform.openai.com/api-keys",
        litellm_prefix="openai/",
    ),
    Provider(
        type="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        key_page="https://openrouter.ai/settings/keys",
        litellm_prefix="openrouter/",
    ),
    Provider(
        type="groq",
        title="Groq",
        base_url="https://api.groq.com/openai/v1",
        key_variables=("GROQ_API_KEY",),
        key_page="https://console.groq.com/keys",
        litellm_prefix="groq/",
    ),
    Provider(
        type="together",
        title="Together AI",
        base_url="https://api.together.ai/v1",
        key_variables=("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY", "TOGETHERAI_API_KEY"),
        key_page="https://api.together.ai/settings/api-keys",
        litellm_prefix="together_ai/",
    ),
    Provider(
        type="fireworks",
        title="Fireworks AI",
        base_url="https://api.fireworks.ai/inference/v1",
        key_variables=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
        key_page="https://app.fireworks.ai/settings/users/api-keys",
        litellm_prefix="fireworks_ai/",
    ),
    Provider(
        type="cerebras",
        title="Cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_variables=("CEREBRAS_API_KEY",),
        key_page="https://cloud.cerebras.ai",
        litellm_prefix="cerebras/",
    ),
    Provider(
        type="moonshot",
        title="Moonshot AI",
        base_url="https://api.moonshot.ai/v1",
        key_variables=("MOONSHOT_API_KEY",),
        key_page="https://platform.moonshot.ai/console/api-keys",
        litellm_prefix="moonshot/",
    ),
    Provider(
        type="zai",
        title="Z.AI",
        base_url="https://api.z.ai/api/paas/v4",
        key_variables=("ZAI_API_KEY",),
        key_page="https://z.ai/manage-apikey/apikey-list",
        litellm_prefix="zai/",
    ),
    Provider(
        type="nebius",
        title="Nebius",
        base_url="https://api.studio.nebius.ai/v1",
        key_variables=("NEBIUS_API_KEY",),
        key_page="https://studio.nebius.ai/settings/api-keys",
        litellm_prefix="nebius/",
    ),
    Provider(
        type="poe",
        title="Poe",
        base_url="https://api.poe.com/v1",
        key_variables=("POE_API_KEY",),
        key_page="https://poe.com/api_key",
        litellm_prefix="poe/",
    ),
    Provider(
        type="grok",
        title="xAI",
        base_url="https://api.x.ai/v1",
        key_variables=("XAI_API_KEY",),
        key_page="https://console.x.ai",
        litellm_prefix="xai/",
    ),
    Provider(
        type="ollama",
        title="Ollama",
        base_url="http://localhost:11434/v1",
        url_variables=("OLLAMA_API_BASE",),
        litellm_prefix="ollama_chat/",
        lists_models=True,
    ),
    Provider(
        type="lmstudio",
        title="LM Studio",
        base_url="http://localhost:1234/v1",
        url_variables=("LM_STUDIO_API_BASE",),
        litellm_prefix="lm_studio/",
        lists_models=True,
    ),
    Provider(
        type="vllm",
        title="vLLM",
        base_url="http://localhost:8000/v1",
        url_variables=("HOSTED_VLLM_API_BASE",),
        litellm_prefix="hosted_vllm/",
        lists_models=True,
    ),
    Provider(
        type="sglang",
        title="SGLang",
        base_url="http://localhost:30000/v1",
        litellm_prefix="openai/",
        lists_models=True,
    ),
    Provider(
        type="claude",
        title="Anthropic",
        wire="gateway",
        key_variables=("ANTHROPIC_API_KEY",),
        key_page="https://console.anthropic.com/settings/keys",
        litellm_prefix="anthropic/",
    ),
    Provider(
        type="gemini",
        title="Google Gemini",
        wire="gateway",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        key_page="https://aistudio.google.com/apikey",
        litellm_prefix="gemini/",
    ),
    Provider(
        type="azure_openai",
        title="Azure OpenAI",
        wire="gateway",
        url_variables=("AZURE_OPENAI_ENDPOINT", "AZURE_API_BASE"),
        needs_base_url=True,
        key_variables=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
        key_page="https://ai.azure.com",
        litellm_prefix="azure/",
    ),
    Provider(type="replay", title="recorded session", wire="replay"),
    Provider(type="litellm", title="litellm", wire="gateway"),
)

PROVIDERS: Mapping[BackendType, Provider] = MappingProxyType({row.type: row for row in _ROWS})
"""A row for every `type` that a configuration can name."""


def litellm_row(model: str) -> Provider:
    """The row of `litellm` for `model`, with the variable where nearly all its providers' keys are, after the model's prefix.

    litellm itself looks only into the process's environment, where the keys of a `.env` file are not."""
    variable = f"{model.partition('/')[0].upper().replace('-', '_')}_API_KEY"
    return replace(PROVIDERS["litellm"], key_variables=(variable,))


class KeyMissing(ConfigError):
    """The key of `provider` is neither given nor in its variables."""

    def __init__(self, provider: Provider) -> None:
        names = " or ".join(provider.key_variables)
        super().__init__(
            [f"no key for {provider.title} ({provider.type}): set {names}; make one at {provider.key_page}"]
        )
        self.provider = provider


def resolve_key(provider: Provider, given: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key to use: the one `given`, else that of the provider's variables; None if it needs none.

    Raises `KeyMissing`.
    """
    candidates = [given, *(environ.get(name) for name in provider.key_variables)]
    key = next((key.strip() for key in candidates if key and key.strip()), None)
    if key is None and provider.key_page:
        raise KeyMissing(provider)
    return key


def key_name(provider: Provider, given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The variable that `resolve_key` took the key from; empty if it was `given`, or there is none."""
    set_ones = (name for name in provider.key_variables if environ.get(name, "").strip())
    return "" if given and given.strip() else next(set_ones, "")


def resolve_base_url(provider: Provider, given: str, environ: Mapping[str, str] = os.environ) -> str:
    """Where the provider is: `given`, else by its variables, else its usual place (empty: litellm knows).

    Raises `ConfigError` where nobody said it.
    """
    if given:
        return given
    found = next((environ[name] for name in provider.url_variables if environ.get(name)), "")
    if not found and provider.needs_base_url:
        beside = " beside its key" if provider.key_variables else ""
        variables = f", or set {provider.url_variables[0]}{beside}" if provider.url_variables else ""
        raise ConfigError([f"no address for {provider.title} ({provider.type}): write `base_url`{variables}"])
    return _versioned(found, provider) if found and provider.wire == "chat_completions" else found or provider.base_url


def _versioned(url: str, provider: Provider) -> str:
    """The variables of local servers hold their bare address as often as that of the API."""
    try:
        return f"{url.rstrip('/')}/v1" if URL(url).path in ("", "/") else url
    except ValueError:
        names = " or ".join(provider.url_variables)
        raise ConfigError([f"{names} holds {url[:60]!r}, which is no address of {provider.title}"]) from None
