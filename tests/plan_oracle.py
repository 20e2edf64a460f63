"""What a plan allows, by brute force: everything is looked up anew at each question. Shares no code with the rules."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import permutations


@dataclass
class Item:
    name: str
    needs: list[str] = field(default_factory=list[str])
    parent: str = ""
    priority: str = "medium"
    status: str = "pending"
    owner: str = ""


class Oracle:
    """A plan that is edited in place; every edit tells whether it was allowed, and does nothing if not."""

    def __init__(self, limit: int = 100, team: bool = False) -> None:
        self.limit, self.team = limit, team
        self.items: list[Item] = []

    # --- edits ---

    def create(self, items: list[Item]) -> bool:
        if not items or (self.team and any(item.status != "completed" for item in self.items)):
            return False
        return self._edit(lambda: setattr(self, "items", deepcopy(items)), grows=True)

    def add(self, item: Item, after: str, agent: str) -> bool:
        if (after and not self.has(after)) or (self.has(item.parent) and not self._may(item.parent, agent)):
            return False
        place = self.names.index(after) + 1 if after else len(self.items)
        return self._edit(lambda: self.items.insert(place, deepcopy(item)), grows=True)

    def edit(self, name: str, agent: str, needs: list[str], priority: str) -> bool:
        def change() -> None:
            self[name].needs, self[name].priority = list(needs), priority

        return self.has(name) and self._may(name, agent) and self._edit(change)

    def move(self, name: str, status: str, agent: str) -> bool:
        def change() -> None:
            self[name].status, self[name].owner = status, "" if status == "pending" else agent

        if not self.has(name) or not self._may(name, agent):
            return False
        match self[name].status, status:
            case "pending", "completed":
                return False
            case "pending", "in_progress" if name not in self.ready():
                return False
            case _:
                return self._edit(change)

    def delete(self, name: str, agent: str) -> bool:
        if not self.has(name) or not self._may(name, agent):
            return False
        return self._edit(lambda: self.items.remove(self[name]))

    def release(self, agent: str) -> None:
        for item in self.items:
            if item.owner == agent and item.status == "in_progress":
                item.status, item.owner = "pending", ""

    # --- questions ---

    @property
    def names(self) -> list[str]:
        return [item.name for item in self.items]

    def has(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Item:
        return next(item for item in self.items if item.name == name)

    def waits(self, name: str) -> set[str]:
        """All that must be completed before it is: itself, where it waits in a circle of parents."""
        found, above = {*self[name].needs, *self._parts(name)}, self[name].parent
        for _ in self.items:
            if above:
                found |= {*self[above].needs}
                above = self[above].parent
        return found

    def open(self, name: str) -> set[str]:
        return {other for other in self.waits(name) if self[other].status != "completed"}

    def ready(self) -> list[str]:
        pending = [item for item in self.items if item.status == "pending" and not self.open(item.name)]
        return [item.name for level in ("high", "medium", "low") for item in pending if item.priority == level]

    def blocked(self) -> dict[str, set[str]]:
        return {
            item.name: self.open(item.name) for item in self.items if item.status == "pending" and self.open(item.name)
        }

    def circles(self) -> set[tuple[str, ...]]:
        """Every circle, from its first task on. Factorial: for few tasks."""
        found: set[tuple[str, ...]] = set()
        for size in range(1, len(self.items) + 1):
            for way in permutations(self.names, size):
                if way[0] == min(way) and all(way[(n + 1) % size] in self.waits(way[n]) for n in range(size)):
                    found.add(way)
        return found

    def circular(self) -> bool:
        """Whether some task waits for itself: what waits for nothing left is taken away until nothing changes."""
        left = {name: self.waits(name) for name in self.names}
        for _ in self.items:
            left = {name: waits for name, waits in left.items() if waits & left.keys()}
        return bool(left)

    # --- what holds ---

    def _edit(self, change: Callable[[], object], grows: bool = False) -> bool:
        before = deepcopy(self.items)
        change()
        if self._sound() and not (grows and len(self.items) > self.limit):
            return True
        self.items = before
        return False

    def _sound(self) -> bool:
        if len({*self.names}) < len(self.items):
            return False
        named = {other for item in self.items for other in (*item.needs, item.parent) if other}
        return named <= {*self.names} and not self.circular() and self._shallow() and all(map(self._fits, self.items))

    def _shallow(self) -> bool:
        def depth(name: str) -> int:
            return 1 + depth(self[name].parent) if self[name].parent else 0

        return all(depth(name) <= 3 for name in self.names)

    def _fits(self, item: Item) -> bool:
        """Started tasks wait for nothing; those in progress may have parts that are open."""
        open_parts = {*self._parts(item.name)} if item.status == "in_progress" else set[str]()
        return item.status == "pending" or self.open(item.name) <= open_parts

    def _may(self, name: str, agent: str) -> bool:
        return self[name].owner in ("", agent)

    def _parts(self, name: str) -> list[str]:
        return [item.name for item in self.items if item.parent == name]
