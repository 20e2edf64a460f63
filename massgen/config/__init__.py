"""What a configuration may say: typed and strict. `massgen.config.loading` reads it from a file."""

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, SecretStr

from massgen.config.limit_rules import OrPath
from massgen.config.limits import RateLimits, Seconds
from massgen.config.tools import Access, Classes, Functions, McpServer, McpServers, Section, ToolUser
from massgen.planning import MOST_TASKS
from massgen.prompts import ROLES

BackendType: TypeAlias = Literal[
    "local", "chatcompletion", "openai", "openrouter", "groq", "together", "fireworks", "cerebras", "moonshot",
    "zai", "nebius", "poe", "grok", "ollama", "lmstudio", "vllm", "sglang", "claude", "gemini", "azure_openai", "replay",
    "litellm",
]  # fmt: skip

Where: TypeAlias = tuple[str | int, ...]
"""Keys and places from the top of the configuration down to a value."""
MAX_AGENTS = 100
MAX_ROLES = 100


class ReasoningConfig(Section):
    """How much a reasoning model thinks first."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """How hard it thinks; which of these a model knows, its provider says."""
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Whether its thoughts are shown in summary."""


class TextConfig(Section):
    """The form of a reply."""

    verbosity: Literal["low", "medium", "high"] | None = None
    """How much the model writes."""


class BackendConfig(ToolUser):
    """The model an agent thinks with."""

    type: BackendType
    """Which provider or server. `chatcompletion` is any OpenAI-compatible one, at `base_url`; `litellm` any that litellm knows; `replay` is a recorded session."""
    model: str = Field(default="", max_length=200)
    """The model's name there. Empty: the local default, or for `ollama`, `vllm`, `sglang` and `lmstudio` the first model the server lists, or for `replay` the recorded one."""
    base_url: str = ""
    """Where the API is, up to and without `/chat/completions`. Empty: the provider's own address."""
    api_key: SecretStr | None = None
    """Write `${NAME}`, never the key itself. Left out: the provider's usual variable."""
    tool_calling: Literal["native", "json"] = "native"
    """How the model acts: by its own tool calls, or (for models without) by JSON that follows a schema."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sampling temperature, as the provider defines it."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Nucleus sampling, as the provider defines it."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    """Longest reply, in tokens."""
    seed: int | None = None
    """Sampling seed, where the provider has one."""
    stop: list[str] | None = None
    """Strings that end a reply."""
    reasoning: ReasoningConfig | None = None
    """How much the model thinks before it replies, where the provider lets that be set."""
    text: TextConfig | None = None
    """The form of the reply, where the provider lets that be set."""
    enable_web_search: bool = False
    """The provider's own web search, where it has one. It may cost extra for each search."""
    enable_code_execution: bool = False
    """The provider's own sandbox for code that the model writes, where it has one."""
    enable_code_interpreter: bool = False
    """Another name of `enable_code_execution`, which OpenAI uses."""
    session: str = ""
    """For `replay`: the session, by its id, the beginning of one, its name, or its path from this file's folder, which has a `/` or begins with `.`."""
    agent: str = ""
    """For `replay`: which of the session's agents. Empty: the one with this agent's `id`."""
    extra_body: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Further fields of the request, sent as they are."""
    context_tokens: Annotated[int, Field(ge=1_000)] | None = None
    """How many tokens the model takes at once. Half of them are for the conversation so far; what of it is longer is summarised. `null`: as the price list says, or 8,192."""
    stall_timeout_seconds: Seconds = 120
    """A reply that is silent for so long is broken off and asked for again."""


class AgentConfig(ToolUser):
    """A member of the team."""

    id: str = Field(default="", max_length=40, pattern=r"^[A-Za-z0-9_.-]*$")
    """Its name in the display and the log. Empty: `agent1`, `agent2`, ... in the order of the file."""
    backend: BackendConfig
    """The model it thinks with."""
    role: str = Field(default="", max_length=40)
    """A preset of instructions: one of massgen's roles, or of the section `roles`."""
    system_message: str = ""
    """Its own instructions, after its role's and before massgen's."""
    tools: Functions = Field(default_factory=list[str])
    """Python functions that it may use beside the team's, in the same words."""
    enable_rate_limit: bool | None = None
    """Whether its calls wait for their provider's limits. `null`: as the whole team's."""


class CoordinationConfig(Section):
    """What happens around the vote."""

    max_orchestration_restarts: Annotated[int, Field(ge=0, le=10)] = 0
    """How often the winner, checking the final answer, may send the team back to work with feedback."""
    enable_agent_task_planning: bool = False
    """Whether agents keep plans of tasks, by eight tools."""
    plan_scope: Literal["agent", "team"] = "agent"
    """Whether each agent has a plan of its own, or all work by one, whose tasks they divide among them."""
    max_tasks_per_plan: Annotated[int, Field(ge=1, le=MOST_TASKS)] = MOST_TASKS
    """Tasks that a plan may have."""


class OrchestratorConfig(Section):
    """How the team decides."""

    max_new_answers_per_agent: Annotated[int, Field(ge=1)] | None = 3
    """At this many answers an agent is offered only the vote. `null`: no limit but time."""
    voting_sensitivity: Literal["lenient", "balanced", "strict"] = "balanced"
    """How good an answer must be before the agents are told to vote for it."""
    answer_novelty_requirement: Literal["lenient", "balanced", "strict"] = "lenient"
    """How new a further answer must be: different (`lenient`), or sharing at most 70 % (`balanced`) or 50 % (`strict`) of its words with one on the ballot."""
    first_answers: Literal["independent", "as_they_come"] = "independent"
    """Whether agents give their first answer before they see any other."""
    patience_seconds: Seconds = 120
    """Voting opens so long after the first answer even if others are still working on theirs."""
    stop: Literal["consensus", "decided"] = "consensus"
    """End when every vote is in, or as soon as the outstanding ones cannot change the winner."""
    skip_voting: bool = False
    """Take the earliest answer without a vote."""
    final_answer_strategy: Literal["winner_present", "winner_reuse"] = "winner_present"
    """The winner writes the final answer with all answers at hand, or its answer is taken as it stands (one call less)."""
    coordination: CoordinationConfig = Field(default_factory=CoordinationConfig)
    """What happens around the vote."""


class TimeoutSettings(Section):
    """When to stop waiting."""

    orchestrator_timeout_seconds: Seconds = 1800
    """The whole run. When it is over, the best answer so far is printed (exit code 3)."""
    turn_timeout_seconds: Seconds = 600
    """One agent's turn. An agent that takes longer leaves the team."""


class UiConfig(Section):
    """How a run is shown."""

    display_type: Literal["rich_terminal", "textual_terminal", "simple", "none"] = "rich_terminal"
    """The live view where stderr is a terminal (`rich_terminal`; `textual_terminal` means the same), a line for each event (`simple`), or nothing."""
    logging_enabled: Literal[True] = True
    """Every run is kept as a session; this cannot be switched off."""


class Config(Section):
    """A team and how it works together."""

    agents: Annotated[list[AgentConfig], Field(min_length=1, max_length=MAX_AGENTS)]
    """The team."""
    orchestrator: OrchestratorConfig = Field(default_factory=OrchestratorConfig)
    """How it decides."""
    timeout_settings: TimeoutSettings = Field(default_factory=TimeoutSettings)
    """When to stop waiting."""
    mcp_servers: McpServers = Field(default_factory=dict[str, McpServer])
    """Servers of tools, by name, for the whole team: each is started once, when it is first needed."""
    tools: Functions = Field(default_factory=list[str])
    """Python functions that all agents may use, each as `module:function`: of a module in this file's folder, or of one that is installed. They run within massgen."""
    tool_access: Classes = Field(default_factory=dict[str, Access])
    """What tools do, whatever else is said of them: `read`, `write` or `irreversible`, by the name that models see, or by pattern. Before the vote agents may only read; what cannot be undone waits for the winner and for your yes."""
    tool_approval: Literal["ask", "always", "never"] = "ask"
    """Whether the winner may do what cannot be undone: you are asked on a terminal (elsewhere that is a no), or it may, or not."""
    roles: Annotated[dict[str, str], Field(max_length=MAX_ROLES)] = Field(default_factory=dict[str, str])
    """Own roles: a name, and the instructions it stands for. One of massgen's names replaces that preset."""
    ui: UiConfig = Field(default_factory=UiConfig)
    """How the run is shown."""
    enable_rate_limit: bool | None = None
    """Whether calls wait for their provider's limits. `null`: wherever massgen or `rate_limits` knows the provider."""
    rate_limits: Annotated[RateLimits | str | None, OrPath(RateLimits)] = None
    """What your account allows: by provider's type, then by model's name, pattern or `default`. Or the path of a file that says so, from this file's folder."""
    rate_limit_store: Annotated[str, Field(pattern=r"^(|process|machine|(redis|rediss|unix)://\S+)$")] = ""
    """Where it is counted what is used: `process`, `machine` (a file that all processes share), or a server for several hosts, `redis://HOST`. Empty: by `machine` where a day or money is limited, else by `process`."""

    @property
    def named_agents(self) -> dict[str, AgentConfig]:
        """The agents by id; those without one are `agent1`, `agent2`, ... by their place."""
        return {agent.id or f"agent{place}": agent for place, agent in enumerate(self.agents, 1)}

    def servers(self, agent: AgentConfig) -> dict[str, McpServer]:
        """The servers of tools that `agent` uses: the team's, its backend's and its own; of the same name, the last of these."""
        return {**self.mcp_servers, **agent.backend.mcp_servers, **agent.mcp_servers}

    def functions(self, agent: AgentConfig) -> list[str]:
        """The functions that `agent` may use: the team's and its own, each once."""
        return [*dict.fromkeys([*self.tools, *agent.tools])]

    def instructions(self, agent: AgentConfig) -> str:
        """What `agent` is told of its own: its role's instructions, then its `system_message`."""
        role = {**ROLES, **self.roles}.get(agent.role, "")
        return "\n\n".join(filter(None, (role, agent.system_message)))


def keys(path: Where) -> list[str]:
    """The keys that the section at `path` has."""
    section = Config
    for step in path:
        if field := section.model_fields.get(str(step)):  # else a place in a list, or a name in a mapping
            section = _section(field.annotation) or section
    return [*section.model_fields]


def _section(hint: Any) -> type[Any] | None:
    """The section that a field's type is, or holds."""
    if inner := get_args(hint):
        return next(filter(None, map(_section, inner)), None)
    return hint if isinstance(hint, type) and issubclass(hint, Section) else None
