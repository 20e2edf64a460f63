"""What the public MassGen's configurations say that ours do not: each key by name, with its alternative. Pure data.

The names are those that its versions 0.1.12 and 0.1.97 read, ship in their own configurations, or document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

_FILES = "agents write files through a server of tools with `workspace: true`; give them yours with the question: massgen --context FILE"
_TOOLS = "tools are MCP servers (`mcp_servers`) or Python functions (`tools`); leave it out"
_FUNCTIONS = "write the agent's `tools`, beside `backend`: Python functions, each as module:function"
_HOOKS = "what tools may do is said by `tool_access` and `tool_approval`, for the whole team"
_OWN_TOOLS = "the tools that such a program brings are not in this version; leave it out"
_MEDIA = "answers are text in this version; leave it out"
_CODING = "coding agents (Claude Code, Codex, Gemini CLI, Copilot) are not in this version; leave it out"
_MEMORY = "there is no memory in this version: every run begins afresh; leave it out"
_LIMITS = "write `enable_rate_limit` beside `backend`, and the numbers under `rate_limits`"
_SKILLS = "skills and subagents are not in this version; leave it out"
_PLANS = "agents plan by themselves: `enable_agent_task_planning`, `plan_scope`, `max_tasks_per_plan`; leave it out"
_READ_ONLY = "before the vote agents may only read; `tool_access` says what does more; leave it out"
_CHECKS = "checklists, criteria and evaluators are not in this version; `voting_sensitivity: strict` asks for more"
_PEERS = "agents see each other's answers when they vote, never during a turn; leave it out"
_RECORD = "every run is recorded, whole, in its session; leave it out"
_BODY = "write it under `extra_body`, which is sent as it is"
_NLIP = "NLIP is not in this version; leave it out"
_DSPY = "questions are not rewritten in this version; leave it out"
_DEBUG = "a debugging aid of its own; leave it out"
_NOTHING = "it has no meaning here; leave it out"
_OURS = "it is set for the whole team: `orchestrator.{}`"
_SPECIAL = "special agents for parts of the work are not in this version; give the agent a `role` or a `system_message`"

_KEYS: Mapping[str, Mapping[str, str]] = {
    "top": {
        _HOOKS: "hooks permissions",
        _MEMORY: "memory",
        _NLIP: "nlip enable_nlip",
        _SPECIAL: "checkpoint",
        "the command line says which session goes on: massgen --continue SESSION; leave it out": "session_id session_storage",
        "limits are in `timeout_settings`": "timeout",
        "the display is set in `ui`": "display",
        "the question is given on the command line: massgen --config FILE QUESTION": "task prompt",
    },
    "agent": {
        _FILES: "cwd context_paths",
        _HOOKS: "hooks permissions",
        _FUNCTIONS: "custom_tools",
        _MEMORY: "memory",
        _NLIP: "nlip enable_nlip",
        _SKILLS: "subagent_agents",
        _SPECIAL: "main_agent subtask",
        "write it in the agent's `system_message`": "append_system_prompt persona",
        _OURS.format("voting_sensitivity"): "voting_sensitivity voting_threshold",
    },
    "backend": {
        _FILES: "cwd context_paths agent_temporary_workspace* context_write_access_enabled enforce_read_before_delete "
        "upload_files filesystem_session_id session_storage_base write_mode drift_conflict_policy use_two_tier_workspace "
        "working_dir media_max_file_size_mb",
        _FUNCTIONS: "custom_tools custom_tools_path tools",
        _HOOKS: "hooks permissions",
        _OWN_TOOLS: "disallowed_tools",
        _TOOLS: "auto_discover_custom_tools exclude_custom_tools exclude_file_operation_mcps direct_mcp_servers "
        "enable_code_based_tools shared_tools_directory concurrent_tool_execution max_concurrent_tools "
        "parallel_tool_calls disable_parallel_tool_use function_calling_mode automatic_function_calling "
        "enable_programmatic_flow enable_tool_search tool_search_variant enable_strict_tool_use "
        "enable_mcp_command_line command_line_* use_mcpwrapped_for_tool_filtering use_no_roots_wrapper "
        "massgen_workflow_tools enable_workflow_tools enable_post_evaluation_tools max_mcp_message_history "
        "enable_computer_use computer_environment display_width display_height enable_x_search tool_config",
        _CODING: "permission_mode approval_mode approval_policy permission_policy copilot_* sandbox_* max_turns "
        "model_instructions_file model_reasoning_effort tool_timeout_sec enable_interrupt_resume "
        "interrupt_poll_seconds max_interrupts_per_turn system_message_mode use_default_prompt disable_auto_update "
        "session_send_timeout_seconds output_schema",
        "AG2's agents are not in this version; leave it out": "agent_config group_config",
        _MEDIA: "enable_audio_generation enable_image_generation enable_video_generation enable_file_generation "
        "audio_generation_* image_generation_* video_generation_* enable_multimodal_tools multimodal_config",
        _LIMITS: "enable_rate_limit rate_limits gemini_backoff_* max_incomplete_response_retries",
        "a reply's silence is limited by `stall_timeout_seconds`": "timeout http_read_timeout",
        _NLIP: "nlip nlip_config enable_nlip",
        _CHECKS: "criteria_mode bootstrap_max_* checklist_* gap_report_mode improvements max_checklist_calls_per_round "
        "novelty_injection enable_novelty_on_iteration enable_quality_rethink_on_iteration "
        "orchestrator_managed_round_evaluator round_evaluator_* voting_threshold",
        _SPECIAL: "main_agent subtask vote_only presenter_agent coordination_mode checkpoint_* "
        "standalone_checkpoint_*",
        _SKILLS: "subagent_types enable_execution_trace_analyzer",
        _PLANS: "plan_*",
        _PEERS: "defer_peer_updates_until_restart allow_midstream_peer_updates_before_checklist_submit "
        "max_midstream_injections_per_round fairness_*",
        _RECORD: "learning_capture_mode disable_final_only_round_capture_fallback session_id",
        _DEBUG: "debug_delay_after_n_tools debug_delay_seconds skip_health_check instance_id agent_id",
        _OURS.format("voting_sensitivity"): "voting_sensitivity",
        _OURS.format("final_answer_strategy"): "final_answer_strategy",
        "write it beside `backend`, as the agent's `system_message`": "system_message system_prompt append_system_prompt",
        "set the variable AZURE_API_VERSION": "api_version",
        "an OpenAI key says its organization; leave it out": "organization",
        "the provider is `type`": "provider",
        "give `api_key: ${NAME}`": "api_key_env_var",
        "replies come over HTTP in this version; leave it out": "websocket_mode background previous_response_id",
        "details of the provider's search are not settable here; leave it out": "engine max_results search_prompt "
        "search_context_size search_parameters",
        _BODY: "top_k min_p repetition_penalty separate_reasoning chat_template_kwargs frequency_penalty "
        "presence_penalty logit_bias logprobs top_logprobs n response_format response_mime_type response_schema "
        "service_tier user metadata store tool_choice thinking thinking_config include_thoughts safety_settings betas",
    },
    "orchestrator": {
        "agents write files through a server of tools with `workspace: true`; leave it out": "snapshot_storage agent_temporary_workspace "
        "session_storage docker",
        "give files with the question: massgen --context FILE": "context_paths",
        _MEDIA: "enable_multimodal_tools multimodal_config audio_generation_* image_generation_* video_generation_*",
        _CHECKS: "checklist_* gap_report_mode max_checklist_calls_per_round voting_threshold",
        _PEERS: "defer_peer_updates_until_restart allow_midstream_peer_updates_before_checklist_submit "
        "max_midstream_injections_per_round disable_injection fairness_* defer_voting_until_all_answered",
        _SPECIAL: "presenter_agent coordination_mode",
        _SKILLS: "skills_directory",
        _NLIP: "enable_nlip nlip nlip_config",
        _DSPY: "dspy",
        _DEBUG: "debug_final_answer",
        _NOTHING: "type max_turns interactive_mode",
        "write it under `coordination`": "max_orchestration_restarts",
        "`skip_voting` ends after the first answer": "skip_coordination_rounds",
        "each agent has its own limit: `max_new_answers_per_agent`": "max_new_answers_global",
        "limits are in `timeout_settings`": "timeout",
    },
    "coordination": {
        "agents write files through a server of tools with `workspace: true`; leave it out": "write_mode drift_conflict_policy "
        "use_two_tier_workspace web_review",
        _READ_ONLY: "enable_planning_mode planning_mode_instruction",
        _PLANS: "plan_depth plan_target_* task_decomposer",
        "plans are kept in the session; leave it out": "task_planning_filesystem_mode",
        _MEMORY: "enable_memory_filesystem_mode compression_target_ratio",
        _SKILLS: "use_skills massgen_skills skills_directory load_previous_session_skills enable_subagents subagent_* "
        "background_subagents async_subagents enable_execution_trace_analyzer auto_trace_analysis",
        _CHECKS: "criteria_mode bootstrap_max_* checklist_* evaluation_criteria_generator evolving_criteria* "
        "enable_evaluator_personas orchestrator_managed_round_evaluator round_evaluator_* improvements "
        "novelty_injection enable_novelty_on_iteration enable_quality_rethink_on_iteration pre_collab_voting_threshold "
        "fast_iteration_mode max_verifications_per_round max_internal_fix_loops skip_redundant_scaffolding",
        "agents do not talk during a turn; leave it out": "broadcast broadcast_* max_broadcasts_per_agent "
        "response_depth",
        "give each agent a `role` of its own": "persona_generator",
        _SPECIAL: "checkpoint_* standalone_checkpoint*",
        _DSPY: "prompt_improver",
        _RECORD: "enable_changedoc learning_capture_mode disable_final_only_round_capture_fallback",
        "the command line says which session goes on: massgen --continue SESSION; leave it out": "resume_from_log",
        "limits are in `timeout_settings`": "timeout_seconds",
    },
    "server": {"all tools are offered from the start; name those that are needed in `allowed_tools`; leave it out": "defer_loading"},
    "timeout_settings": {
        "each turn is limited by `turn_timeout_seconds`": "initial_round_timeout_seconds "
        "subsequent_round_timeout_seconds round_timeout_grace_seconds",
    },
    "ui": {
        "the view adapts to its terminal; leave it out": "theme display_kwargs skip_agent_selector debug "
        "use_orchestrator_for_single_agent",
        "without a terminal the view is plain by itself; `display_type: none` shows nothing": "automation_mode",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Renamed:
    """What a setting of the public MassGen is called here."""

    key: str
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    """Its values, as YAML writes them, and ours; empty: they are the same."""


RENAMED: Mapping[tuple[str, str], Renamed] = {
    ("agent", "system_prompt"): Renamed("system_message"),
    ("backend", "azure_endpoint"): Renamed("base_url"),
    ("backend", "max_completion_tokens"): Renamed("max_tokens"),
    ("backend", "max_output_tokens"): Renamed("max_tokens"),
    ("orchestrator", "skip_final_presentation"): Renamed(
        "final_answer_strategy", {"true": "winner_reuse", "false": "winner_present"}
    ),
    ("server", "http_read_timeout"): Renamed("timeout"),
    ("ui", "type"): Renamed("display_type"),
}
"""By section and key."""

_STRICT = "checklist checklist_scored checklist_gated adversarial consistency reflective"
_BALANCED = "roi roi_conservative roi_balanced roi_aggressive sequential diversity"
VALUES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("orchestrator", "voting_sensitivity"): {
        **dict.fromkeys(_STRICT.split(), "strict"),
        **dict.fromkeys(_BALANCED.split(), "balanced"),
    },
    ("orchestrator", "final_answer_strategy"): {"synthesize": "winner_present"},
    ("ui", "display_type"): {"silent": "none", "terminal": "simple"},
    ("ui", "logging_enabled"): {"false": "true"},
}
"""By section and key: values that only the public MassGen has, and the nearest here."""


@dataclass(frozen=True, slots=True)
class Instead:
    """What serves instead of a backend type that we have not."""

    why: str
    type: str = ""
    """The nearest of our types; empty: there is none."""
    model_prefix: str = ""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """What must be set with it, unless it is; models are the type's defaults there."""


TYPES: Mapping[str, Instead] = {
    "claude_code": Instead(
        "Claude Code is not in this version; `claude` has its models, without its tools",
        "claude",
        settings={"model": "claude-opus-4-6"},
    ),
    "codex": Instead(
        "Codex is not in this version; `openai` has its models, without its tools",
        "openai",
        settings={"model": "gpt-5.4"},
    ),
    "gemini_cli": Instead(
        "Gemini CLI is not in this version; `gemini` has its models, without its tools",
        "gemini",
        settings={"model": "gemini-3.1-pro-preview"},
    ),
    "antigravity_cli": Instead(
        "Antigravity is not in this version; `gemini` has its models, without its tools",
        "gemini",
        settings={"model": "gemini-3.5-flash"},
    ),
    "copilot": Instead(
        "Copilot's agent is not in this version; its models are `litellm`'s github_copilot/NAME, which asks for a login",
        "litellm",
        "github_copilot/",
        {"model": "github_copilot/gpt-5-mini"},
    ),
    "qwen": Instead(
        "`chatcompletion` reaches it: base_url https://dashscope-intl.aliyuncs.com/compatible-mode/v1, api_key ${QWEN_API_KEY}",
        "chatcompletion",
        settings={
            "base_url": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "api_key": "${QWEN_API_KEY}",
            "model": "qwen-max",
        },
    ),
    "nvidia_nim": Instead(
        "`chatcompletion` reaches it: base_url https://integrate.api.nvidia.com/v1, api_key ${NGC_API_KEY}",
        "chatcompletion",
        settings={
            "base_url": "https://integrate.api.nvidia.com/v1",
            "api_key": "${NGC_API_KEY}",
            "model": "moonshotai/kimi-k2.5",
        },
    ),
    "inference": Instead("`vllm`, `sglang` or, at its `base_url`, `chatcompletion` reaches it", "chatcompletion"),
    "uitars": Instead("`chatcompletion` reaches it at its `base_url`", "chatcompletion"),
    "ag2": Instead("AG2's agents are not in this version; give the model they think with, e.g. `openai`"),
}
"""The public MassGen's backend types that ours has not."""


def section(path: Sequence[str | int]) -> str:
    """Which section the key at `path` is in; empty if it is in none that has keys of the public MassGen's."""
    match below := tuple(path[2:] if len(path) > 2 and path[0] == "profiles" else path):
        case (*_, "mcp_servers", _, str()):
            return "server"
        case ("agents", int(), str()) | ("agent", str()):
            return "agent"
        case ("agents", int(), "backend", str()) | ("agent", "backend", str()):
            return "backend"
        case ("orchestrator", "coordination", str()):
            return "coordination"
        case ("orchestrator" | "timeout_settings" | "ui" as name, str()):
            return name
        case _:
            return "top" if len(below) == 1 and isinstance(below[0], str) else ""


def instead(path: Sequence[str | int]) -> str:
    """What to do instead of the public MassGen's key at `path`, as a clause; empty if it had none there either."""
    where, key = section(path), str(path[-1]) if path else ""
    if renamed := RENAMED.get((where, key)):
        return f"here it is `{renamed.key}`"
    clauses = _KEYS.get(where, {}).items()
    return next((clause for clause, keys in clauses if any(fnmatchcase(key, each) for each in keys.split())), "")


def alternative(path: Sequence[str | int]) -> str:
    """`instead`, for an error message about an unknown key."""
    clause = instead(path)
    return f"the public MassGen's: {clause}" if clause else ""


def type_alternative(name: str) -> str:
    """What to do instead of the public MassGen's backend type `name`, as a clause; empty if it had none either."""
    nearest = TYPES.get(name)
    return f"the public MassGen's: {nearest.why}" if nearest else ""
