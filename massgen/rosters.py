"""How the team that a run goes on with differs from the one before. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from massgen.events import Member


@dataclass(frozen=True, slots=True)
class Change:
    """Ids of agents; `replaced`: of those that have another backend or model."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As `dave joined; bob left; carol has another model`; empty where the team stayed the same."""
        told = (
            (self.joined, "joined"),
            (self.left, "left"),
            (self.replaced, f"ha{'ve' if self.replaced[1:] else 's'} another model"),
        )
        return "; ".join(f"{', '.join(agents)} {did}" for agents, did in told if agents)


def change(before: Iterable[Member], after: Iterable[Member]) -> Change:
    """What became of the team `before`."""
    old, new = ({member.id: member for member in team} for team in (before, after))
    return Change(
        tuple(agent for agent in new if agent not in old),
        tuple(agent for agent in old if agent not in new),
        tuple(agent for agent in new if agent in old and new[agent] != old[agent]),
    )
