"""Whether a final answer turns to the user instead of standing on its own: nobody is there to reply."""

import re

_ADDRESS = r"\b(you|your|yours|shall i|should i|would it help|may i|can i|do i)\b"
_OFFER = re.compile(
    r"^(please )?(let me know|feel free to|tell me|just ask|if you('d| would)? (like|want|prefer|need|have)|would you like"
    r"|do you want|shall i|should i|i can also|happy to|i('d| would) be happy to|i'm happy to|could you (please )?"
    r"|can you (please )?(share|provide|clarify|confirm|tell|specify)|please (share|provide|clarify|confirm|specify|let)"
    r"|what (else )?would you|which (one |option )?(would|do) you|how would you like|is there anything else"
    r"|before i (start|begin|continue|proceed)|i need (more|some|a bit more) (information|details|context))",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"[\s*_`)\]>\"'\u201d\u2019]+$")
_SENTENCE = re.compile(r"(?<=[.!?:])[\s*_]+|\n+")


def asks_the_user(text: str) -> bool:
    """Whether `text` ends by asking the user something, or by offering to go on.

    Only its last sentence counts, and a question only if it addresses the reader: an answer may well be a question
    ("What is Hamlet's famous line?"), quote one, or list some. English only; other languages pass unless they end so.
    """
    last = _last_sentence(text)
    if _OFFER.match(last):
        return True
    return last.endswith("?") and re.search(_ADDRESS, last, re.IGNORECASE) is not None and not _is_item(text)


def _last_sentence(text: str) -> str:
    stripped = _CLOSING.sub("", text.rstrip())
    sentences = [part.strip(" \t*_`>-") for part in _SENTENCE.split(stripped)]
    return next((sentence for sentence in reversed(sentences) if sentence), "")


def _is_item(text: str) -> bool:
    """Whether the last line is one of a list or a quotation: asked for, not asked of the user."""
    line = text.rstrip().rsplit("\n", 1)[-1].strip()
    return re.match(r"([-*•]|\d+[.)])\s|[\"\u201c'>]", line) is not None
