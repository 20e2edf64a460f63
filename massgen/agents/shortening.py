"""Long texts, as models are shown them."""

from massgen import prompts


def shortened(text: str, limit: int) -> str:
    """`text`, or its beginning and end with a note of how much was left out."""
    over = len(text) - limit
    return text if over <= 0 else text[: limit * 2 // 3] + prompts.LEFT_OUT.format(count=over) + text[-(limit // 3) :]
