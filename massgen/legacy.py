"""What the public MassGen's configurations say that ours do not: each key by name, with its alternative. Pure data."""

from collections.abc import Sequence


def alternative(path: Sequence[str | int]) -> str:
    """What to do instead of the public MassGen's key at `path`, as a clause; empty if it had none there either."""
    del path
    return ""
