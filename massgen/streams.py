"""What a model streams, as text that is safe to show: tool calls as what they say, not as JSON."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from massgen.messages import ReasoningDelta, TextDelta, ToolCallDelta

KEEP = 4_000
"""Characters kept of each text: the end of what streams, the beginning of what is settled."""

DEPTH = 64
"""Brackets in brackets that are told apart."""

Delta: TypeAlias = TextDelta | ReasoningDelta | ToolCallDelta

_UNSAFE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]{,32}[ -/]?[@-~]|[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Colours, cursor movements and every other control (so no escape sequence survives), reordering and invisible characters,
half surrogates.
Joiners (U+200C, U+200D) stay: Persian and emoji need them."""
_BEGUN = re.compile("(?:\r|\x1b|(?:\x1b\\[|\x9b)[0-?]{,32}[ -/]?)\\Z")
"""What may be the beginning of a control, or of a line's end, which the next piece ends."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([^u]))")
_COMPLETE = re.compile(rf"(?:[^\\]++|{_ESCAPE.pattern})*+")
_TOKEN = re.compile(rf'"|(?:[^"\\]++|{_ESCAPE.pattern}|\\)+')
_LETTERS = {"n": "\n", "t": " ", "r": "", "b": "", "f": ""}


def safe(text: str) -> str:
    """`text` without anything that could steer a terminal or deceive the eye."""
    return _UNSAFE.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    "))


def line(text: str, limit: int = KEEP) -> str:
    """`text` as one safe line of at most `limit` characters."""
    words = " ".join(safe(text[: 4 * limit]).split())
    return words if len(words) <= limit else words[: limit - 3] + "..."


@dataclass(slots=True)
class _Arguments:
    """The arguments of a tool call, of which its texts are shown: those of an object without their names, each on a line."""

    _cut: str = ""
    """An escape that is not whole yet."""
    _object: bool | None = None
    """Whether they are an object, as they should be; None before their first letter."""
    _quoted: bool = False
    _value: bool = False
    """Whether the next, or the present, quoted text is a value, and not a name."""
    _open: str = ""
    """The brackets that are open."""
    _shown: bool = False

    def read(self, chunk: ToolCallDelta) -> str:
        """What the next piece says."""
        raw = self._cut + chunk.arguments[-KEEP:]
        complete = _COMPLETE.match(raw)
        end = complete.end() if complete and len(raw) - complete.end() < 6 else len(raw)  # longer: not an escape
        self._cut = raw[end:]
        if self._object is None and raw.strip():
            self._object = raw.lstrip().startswith("{")
        said = "".join(self._texts(raw[:end])) if self._object else _ESCAPE.sub(_unescaped, raw[:end])
        return (f"{chunk.name} " if chunk.name else "") + said

    def _texts(self, raw: str) -> Iterator[str]:
        for token in _TOKEN.finditer(raw):
            if token[0] != '"':
                if self._quoted and self._value:
                    yield _ESCAPE.sub(_unescaped, token[0])
                elif not self._quoted:
                    self._place(token[0])
            else:
                self._quoted = not self._quoted
                if self._quoted and self._value and self._shown:
                    yield "\n"
                self._shown = self._shown or (self._quoted and self._value)

    def _place(self, between: str) -> None:
        """What stands between two texts says what the second is."""
        for mark in re.findall(r"[\[\]{}:,]", between):
            if mark in "[{":
                self._open = (self._open + mark)[-DEPTH:]
            elif mark in "]}":
                self._open = self._open[:-1]
            self._value = mark == ":" or self._open.endswith("[")


@dataclass(slots=True)
class Stream:
    """The end of what an agent streams in a turn; reasoning, text and tool calls begin on lines of their own."""

    text: str = ""
    _kind: type[Delta] | None = None
    _begun: str = ""
    _arguments: _Arguments = field(default_factory=_Arguments)

    def hear(self, chunk: Delta) -> None:
        if self._kind is not type(chunk):
            self.text += "\n" if self.text else ""
            self._kind, self._begun, self._arguments = type(chunk), "", _Arguments()
        said = self._arguments.read(chunk) if isinstance(chunk, ToolCallDelta) else chunk.text
        text = self._begun + said[-KEEP:]
        begun = _BEGUN.search(text)
        self._begun = begun[0] if begun else ""
        self.text += safe(text.removesuffix(self._begun))
        if len(self.text) > KEEP:
            # Half at once, so that the lines do not break differently at every chunk.
            self.text = self.text[-KEEP // 2 :]


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _LETTERS.get(escape[2], escape[2])
