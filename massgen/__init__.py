"""massgen: a team of language-model agents answers one question together.

result = massgen.run("What is the capital of France?", "team.yaml")
print(result.answer)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from massgen.app import Result, arun, run

__all__ = ["Result", "arun", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `massgen --help` must not pay for what a run needs.
    if name not in __all__:
        raise AttributeError(f"module 'massgen' has no attribute {name!r}")
    from massgen import app

    return getattr(app, name)
