import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from benchmarks.public_configs import fate, files, structure, table
from massgen.config import BackendType, keys
from massgen.config.legacy import RENAMED, TYPES, VALUES, alternative, instead, section, type_alternative

PLAIN = json.loads((Path(__file__).parent / "public_configs.json").read_text())
"""The settings of the public MassGen's own plain configurations (0.1.97), without their prose."""

# What its own checker takes for a setting, in 0.1.97.
ORCHESTRATOR = """
    agent_temporary_workspace allow_midstream_peer_updates_before_checklist_submit answer_novelty_requirement
    audio_generation_backend checklist_first_answer checklist_require_gap_report context_paths coordination
    coordination_mode debug_final_answer defer_peer_updates_until_restart defer_voting_until_all_answered
    disable_injection docker dspy enable_multimodal_tools enable_nlip fairness_enabled fairness_lead_cap_answers
    final_answer_strategy gap_report_mode image_generation_backend interactive_mode max_checklist_calls_per_round
    max_midstream_injections_per_round max_new_answers_global max_new_answers_per_agent max_orchestration_restarts
    max_turns multimodal_config nlip nlip_config presenter_agent skills_directory skip_coordination_rounds
    skip_final_presentation skip_voting snapshot_storage timeout type video_generation_backend voting_sensitivity
    voting_threshold"""
COORDINATION = """
    auto_trace_analysis background_subagents bootstrap_max_per_agent_per_round bootstrap_max_total broadcast
    broadcast_sensitivity broadcast_timeout broadcast_wait_by_default checklist_criteria_inline
    checklist_criteria_preset checkpoint_enabled checkpoint_gated_patterns checkpoint_guidance checkpoint_mode
    compression_target_ratio criteria_mode disable_final_only_round_capture_fallback drift_conflict_policy
    enable_agent_task_planning enable_changedoc enable_evaluator_personas enable_execution_trace_analyzer
    enable_memory_filesystem_mode enable_novelty_on_iteration enable_planning_mode enable_quality_rethink_on_iteration
    enable_subagents evaluation_criteria_generator evolving_criteria evolving_criteria_max_evolutions
    evolving_criteria_min_high_score_count evolving_criteria_score_threshold evolving_criteria_timeout
    fast_iteration_mode improvements learning_capture_mode load_previous_session_skills massgen_skills
    max_broadcasts_per_agent max_internal_fix_loops max_orchestration_restarts max_tasks_per_plan
    max_verifications_per_round novelty_injection orchestrator_managed_round_evaluator persona_generator plan_depth
    plan_target_chunks plan_target_steps planning_mode_instruction pre_collab_voting_threshold prompt_improver
    response_depth resume_from_log round_evaluator_before_checklist round_evaluator_refine
    round_evaluator_skip_synthesis round_evaluator_transformation_pressure skills_directory skip_redundant_scaffolding
    standalone_checkpoint subagent_default_timeout subagent_host_launch_prefix subagent_max_concurrent
    subagent_max_timeout subagent_min_timeout subagent_orchestrator subagent_round_timeouts
    subagent_runtime_fallback_mode subagent_runtime_mode subagent_types task_decomposer task_planning_filesystem_mode
    use_skills use_two_tier_workspace web_review write_mode"""
BACKEND = """
    agent_id agent_temporary_workspace agent_temporary_workspace_parent audio_generation_backend
    audio_generation_model auto_discover_custom_tools command_line_allowed_commands command_line_docker_image
    command_line_srt_read_mode concurrent_tool_execution context_paths context_write_access_enabled custom_tools
    custom_tools_path cwd debug_delay_seconds direct_mcp_servers enable_audio_generation enable_code_based_tools
    enable_file_generation enable_image_generation enable_mcp_command_line enable_multimodal_tools enable_nlip
    enable_rate_limit enable_video_generation enforce_read_before_delete exclude_custom_tools
    exclude_file_operation_mcps filesystem_session_id hooks instance_id main_agent max_concurrent_tools mcp_servers
    multimodal_config nlip permissions plan_depth session_id session_storage_base shared_tools_directory subtask type
    upload_files vote_only voting_sensitivity websocket_mode allowed_tools exclude_tools disallowed_tools
    permission_mode system_prompt append_system_prompt"""
SERVER = "name type command args env security url headers cwd timeout allowed_tools exclude_tools defer_loading"
TIMEOUTS = """initial_round_timeout_seconds orchestrator_timeout_seconds round_timeout_grace_seconds
    subsequent_round_timeout_seconds"""
TOP = "agents orchestrator ui timeout_settings memory session_id hooks nlip permissions checkpoint"
TYPES_THERE = """ag2 antigravity_cli azure_openai cerebras chatcompletion claude claude_code codex copilot fireworks
    gemini gemini_cli grok groq inference lmstudio moonshot nebius nvidia_nim openai openrouter poe qwen sglang together
    uitars vllm zai"""


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ((), TOP),
        (("agents", 0), "id backend system_message memory voting_sensitivity main_agent subtask subagent_agents"),
        (("agents", 1, "backend"), BACKEND),
        (("orchestrator",), ORCHESTRATOR),
        (("orchestrator", "coordination"), COORDINATION),
        (("agents", 0, "backend", "mcp_servers", 0), SERVER),
        (("timeout_settings",), TIMEOUTS),
        (("ui",), "display_type logging_enabled type theme automation_mode skip_agent_selector"),
    ],
)
def test_every_setting_of_the_public_massgen_is_ours_or_has_an_alternative(path: tuple[Any, ...], names: str):
    silent = [name for name in names.split() if name not in keys(path) and not alternative((*path, name))]
    assert silent == []


def test_every_backend_type_of_the_public_massgen_is_ours_or_has_an_alternative():
    ours = get_args(BackendType)
    assert [name for name in TYPES_THERE.split() if name not in ours and not type_alternative(name)] == []
    assert [name for name in TYPES if name in ours] == []


def test_what_is_offered_instead_is_there():
    paths: dict[str, tuple[Any, ...]] = {
        "agent": ("agents", 0), "backend": ("agents", 0, "backend"), "orchestrator": ("orchestrator",), "ui": ("ui",),
        "server": ("mcp_servers", "one"),
    }  # fmt: skip
    assert [renamed.key for (where, _), renamed in RENAMED.items() if renamed.key not in keys(paths[where])] == []
    assert [key for where, key in VALUES if key not in keys(paths[where])] == []
    assert {each.type for each in TYPES.values()} <= {*get_args(BackendType), ""}


def test_a_key_that_nobody_has_has_no_alternative():
    assert instead(("orchestrator", "no_such_key")) == alternative(("agents", 0, "backend", "modle")) == ""
    assert alternative(()) == section(("agents", 0, "backend", "reasoning", "effort")) == type_alternative("x") == ""


def test_the_single_agent_and_the_profiles_have_the_same_alternatives():
    plain = alternative(("agents", 0, "backend", "cwd"))
    assert (
        alternative(("agent", "backend", "cwd")) == alternative(("profiles", "dev", "agent", "backend", "cwd")) == plain
    )
    assert alternative(("orchestrator", "snapshot_storage")) == (
        "the public MassGen's: agents write files through a server of tools with `workspace: true`; leave it out"
    )


def test_a_server_of_tools_has_the_alternatives_wherever_it_is():
    told = "the public MassGen's: all tools are offered from the start; name those that are needed in `allowed_tools`; leave it out"
    for above in [("mcp_servers", "a"), ("agents", 0, "mcp_servers", 1), ("agent", "backend", "mcp_servers", "a")]:
        assert alternative((*above, "defer_loading")) == told
        assert alternative(("profiles", "dev", *above, "defer_loading")) == told


def test_all_plain_configurations_of_the_public_massgen_are_here():
    assert len(PLAIN) == 37


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_configuration_loads_or_is_refused_by_name_and_loads_once_migrated(name: str, tmp_path: Path):
    file = tmp_path / "public.yaml"
    file.write_text(yaml.safe_dump(PLAIN[name], sort_keys=False))
    came_of_it = fate(file)
    assert came_of_it.nameless == []
    assert came_of_it.left == []


def test_the_table_counts_what_became_of_a_folder(tmp_path: Path):
    agent: dict[str, Any] = {"id": "a", "backend": {"type": "openai", "model": "m"}, "system_message": "Be\nkind."}
    (tmp_path / "fine.yaml").write_text(yaml.safe_dump({"agents": [agent]}))
    (tmp_path / "named.yaml").write_text(yaml.safe_dump({"agent": agent, "memory": {"enabled": True}}))
    (tmp_path / "nameless.yaml").write_text(yaml.safe_dump({"agents": [agent], "no_such_key": 1}))
    (tmp_path / "other.yaml").write_text("limits: 3")
    found = files(tmp_path)
    assert [file.name for file in found] == ["fine.yaml", "named.yaml", "nameless.yaml"]
    counts = [int(line.split()[0]) for line in table([fate(file) for file in found]).splitlines()]
    assert counts == [3, 1, 1, 1, 2, 2]
    assert structure(found[1])["agent"]["system_message"] == "text"
