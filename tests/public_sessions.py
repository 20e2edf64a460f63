"""Writes what the public MassGen leaves on disk, in the shapes of its versions 0.1.9 to 0.1.97."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SESSION = "session_20251029_120000"
LOG = "log_20251103_143022_500000"
RULE = "=" * 80


@dataclass(frozen=True, slots=True)
class Session:
    """A folder of `.massgen/sessions`."""

    path: Path

    @classmethod
    def new(cls, base: Path, session: str = SESSION) -> "Session":
        path = base / ".massgen" / "sessions" / session
        path.mkdir(parents=True)
        return cls(path)

    def turn(
        self,
        number: int,
        task: str,
        answer: str | None,
        winner: str = "agent_a",
        at: str = "2025-10-29T12:00:05.250000",
        models: Mapping[str, str] | None = None,
    ) -> Path:
        """As `handle_session_persistence` does; `models` since 0.1.60 or so."""
        metadata: dict[str, Any] = {"turn": number, "timestamp": at, "winning_agent": winner, "task": task}
        metadata |= {"session_id": self.path.name} | ({"models": models} if models else {})
        folder = self._turn(number, metadata)
        if answer is not None:
            (folder / "answer.txt").write_text(answer, encoding="utf-8")
        (folder / "workspace").mkdir(exist_ok=True)
        self._summary(
            number, "", at, f"Winning Agent: {winner}\nTask: {task}\nWorkspace: {folder}/workspace\nAnswer: See"
        )
        history = self.path / "winning_agents_history.json"
        told: list[Any] = json.loads(history.read_text()) if history.exists() else []
        history.write_text(json.dumps([*told, {"agent_id": winner, "turn": number}], indent=2))
        return folder

    def cancelled(self, number: int, task: str, answers: Mapping[str, str], at: str = "2025-10-29T12:10:00") -> Path:
        """As `save_partial_turn` does."""
        metadata = {"turn": number, "timestamp": at, "status": "incomplete", "phase": "coordinating", "task": task}
        folder = self._turn(number, metadata | {"session_id": self.path.name, "voting_complete": False})
        partial = {agent: {"answer": text, "has_voted": False} for agent, text in answers.items()}
        (folder / "partial_answers.json").write_text(json.dumps(partial, indent=2))
        head = "[PARTIAL ANSWER - Session was cancelled during coordinating phase]\n[Best answer from: agent_a]\n"
        (folder / "answer.txt").write_text(f"{head}{'=' * 60}\n\n{max(answers.values(), key=len, default='')}")
        ended = f"Phase when cancelled: coordinating\nTask: {task}\nAgents with answers: {', '.join(answers)}"
        self._summary(number, " [INCOMPLETE - CANCELLED]", at, ended)
        return folder

    def _turn(self, number: int, metadata: Mapping[str, Any]) -> Path:
        folder = self.path / f"turn_{number}"
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps(metadata, indent=2))
        return folder

    def _summary(self, number: int, how: str, at: str, told: str) -> None:
        path = self.path / "SESSION_SUMMARY.txt"
        before = path.read_text() if path.exists() else f"{RULE}\nMulti-Turn Session: {self.path.name}\n{RULE}\n"
        path.write_text(f"{before}\n\n{RULE}\nTURN {number}{how}\n{RULE}\nTimestamp: {at}\n{told}\n")


@dataclass(frozen=True, slots=True)
class Logs:
    """What is logged of an attempt: `path` is the folder of it."""

    path: Path

    @classmethod
    def new(cls, base: Path, *parts: str, log: str = LOG) -> "Logs":
        path = base.joinpath(".massgen", "massgen_logs", log, *parts)
        path.mkdir(parents=True)
        return cls(path)

    @property
    def root(self) -> Path:
        return next(each for each in (self.path, *self.path.parents) if each.name.startswith("log_"))

    def metadata(self, query: str, agents: Sequence[Mapping[str, Any]]) -> "Logs":
        """As `save_execution_metadata` does."""
        told = {"query": query, "timestamp": "2025-11-03T14:30:22.600000", "config": {"agents": [*agents]}}
        told |= {"cli_args": {}, "python_version": "3.11.7", "working_directory": "/home/ada/work"}
        (self.path / "execution_metadata.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
        return self

    def events(self, query: str, agents: Sequence[str], winner: str | None, start: float, end: float | None) -> "Logs":
        """As `CoordinationTracker.save_coordination_logs` does."""
        about: dict[str, Any] = {"user_prompt": query, "agent_ids": [*agents], "start_time": start, "end_time": end}
        told: dict[str, Any] = {"session_metadata": {**about, "final_winner": winner}, "events": []}
        (self.path / "coordination_events.json").write_text(json.dumps(told, indent=2))
        return self

    def answer(self, agent: str, at: str, text: str) -> Path:
        return self._file(f"{agent}/{at}/answer.txt", text)

    def vote(self, agent: str, at: str, voted_for: str, label: str | None = None, reason: str = "") -> Path:
        told = {"voter_id": agent, "voted_for": voted_for, "voted_for_label": label, "reason": reason, "timestamp": at}
        return self._file(f"{agent}/{at}/vote.json", json.dumps(told, indent=2))

    def final(self, agent: str, text: str) -> Path:
        return self._file(f"final/{agent}/answer.txt", text)

    def _file(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path
