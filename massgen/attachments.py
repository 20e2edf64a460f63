"""Files that go with a question: texts become part of it, images travel beside it. Everything is bounded."""

import base64
import html
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from massgen.errors import UsageError
from massgen.messages import Media

MAX_TEXT = 1_000_000
"""Bytes of one text."""
MAX_TEXTS = 4_000_000
"""Bytes of all texts of one question."""
MAX_IMAGE = 10_000_000
"""Bytes of one image."""
MAX_IMAGES = 20_000_000
"""Bytes of all images: base64 makes that 27 MB, and providers take 20 to 50 MB a request."""
MAX_FILES = 100

ACCEPTED = "UTF-8 text and png, jpeg, gif and webp images are accepted"

_IMAGES = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)
"""How files of each kind begin; their names do not count."""


def attach(question: str, files: Sequence[str | Path]) -> tuple[str, tuple[Media, ...]]:
    """`question` with the texts among `files` in it, each as a named block, and the images. `-` is stdin.

    Raises `UsageError` for what cannot be read, is neither, or is too large."""
    if len(files) > MAX_FILES:
        raise UsageError(f"{len(files):,} context files are more than the {MAX_FILES} that are accepted")
    blocks, images, sizes = [question], list[Media](), {"text": 0, "image": 0}
    for file in files:
        name, data = _name(file), _bytes(file)
        mime = next((mime for magic, mime in _IMAGES if magic.match(data)), "")
        if mime:
            images.append(_image(name, mime, data))
        else:
            blocks.append(f'<file name="{html.escape(name)}">\n{_text(name, data)}\n</file>')
        sizes["image" if mime else "text"] += len(data)
        _check_total(name, sizes)
    return "\n\n".join(blocks), tuple(images)


def _name(file: str | Path) -> str:
    """As given, in one line of UTF-8."""
    return "stdin" if str(file) == "-" else " ".join(str(file).encode(errors="replace").decode().split())


def _bytes(file: str | Path) -> bytes:
    """No more of it than shows that it is too large: it may be a device without end."""
    if str(file) == "-" and sys.stdin is None:
        raise _refused("stdin", "it is closed")
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MAX_IMAGE + 1)
        with Path(file).open("rb") as stream:
            return stream.read(MAX_IMAGE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _refused(_name(file), getattr(error, "strerror", None) or str(error)) from None


def _image(name: str, mime: str, data: bytes) -> Media:
    if len(data) > MAX_IMAGE:
        raise _refused(name, f"larger than {MAX_IMAGE:,} bytes, the most for an image")
    return Media("image", mime, data=base64.b64encode(data).decode(), name=name)


def _text(name: str, data: bytes) -> str:
    if len(data) > MAX_TEXT and b"\0" not in data[:MAX_TEXT]:
        raise _refused(name, f"larger than {MAX_TEXT:,} bytes, the most for a text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise _refused(name, f"neither a text nor a known image; {ACCEPTED}")
    return text


def _check_total(name: str, sizes: dict[str, int]) -> None:
    if sizes["image"] > MAX_IMAGES or sizes["text"] > MAX_TEXTS:
        raise _refused(name, f"with this, more than {MAX_TEXTS:,} bytes of text or {MAX_IMAGES:,} of images in all")


def _refused(name: str, why: str) -> UsageError:
    return UsageError(why, where=f"context file {name[:200]}")
