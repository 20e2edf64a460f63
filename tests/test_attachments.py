"""Files that go with a question: what is accepted, how it reaches a model, and what is refused."""

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import massgen
from massgen.attachments import MAX_FILES, attach
from massgen.errors import UsageError
from massgen.log import read
from massgen.messages import Media
from tests.providers import Simulator, Team

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "image/gif": b"GIF89a\1\0\1\0",
    "image/webp": b"RIFF\x0a\0\0\0WEBPVP8 ",
}


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_texts_become_named_blocks_of_the_question_in_the_order_given(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.py", "print(1)\n"), written(tmp_path / 'b "2".txt', "\ufeffhéllo")
    text, media = attach("Review this", [str(first), second])
    assert media == ()
    assert text == (
        f'Review this\n\n<file name="{first}">\nprint(1)\n\n</file>\n\n'
        f'<file name="{tmp_path}/b &quot;2&quot;.txt">\nhéllo\n</file>'
    )


@pytest.mark.parametrize(("mime", "data"), PICTURES.items())
def test_an_image_is_known_by_its_bytes_not_by_its_name(tmp_path: Path, mime: str, data: bytes) -> None:
    file = written(tmp_path / "notes.txt", data)
    text, media = attach("Look", [file])
    assert text == "Look"
    assert media == (Media("image", mime, data=base64.b64encode(data).decode(), name=str(file)),)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "neither a text nor a known image; UTF-8 text and png, jpeg, gif and webp"),
        (b"ID3\4\0\0", "neither a text nor a known image"),
        ("text".encode("utf-16"), "neither a text nor a known image"),
        (bytes(1_500_000), "neither a text nor a known image"),
        (b"x" * 1_000_001, "larger than 1,000,000 bytes, the most for a text"),
        (PNG + bytes(10_000_000), "larger than 10,000,000 bytes, the most for an image"),
    ],
)
def test_what_is_neither_or_too_large_is_refused_by_name(tmp_path: Path, data: bytes, why: str) -> None:
    file = written(tmp_path / "given", data)
    with pytest.raises(UsageError, match=why) as refused:
        attach("Look", [file])
    assert refused.value.where == f"context file {file}"


@pytest.mark.parametrize(
    ("name", "why"), [("none.txt", "No such file"), ("", "Is a directory"), ("a\0b", "embedded null byte")]
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        attach("Look", [f"{tmp_path}/{name}"])


def test_a_device_without_end_is_read_no_further_than_needed() -> None:
    with pytest.raises(UsageError, match="neither a text nor a known image"):
        attach("Look", ["/dev/zero"])


def test_all_together_are_bounded(tmp_path: Path) -> None:
    text, image = written(tmp_path / "t", b"x" * 1_000_000), written(tmp_path / "i", PNG + bytes(9_000_000))
    assert len(attach("Look", [text] * 4)[0]) > 4_000_000
    with pytest.raises(UsageError, match="more than 4,000,000 bytes of text"):
        attach("Look", [text] * 5)
    with pytest.raises(UsageError, match="20,000,000 of images in all"):
        attach("Look", [image] * 3)
    with pytest.raises(UsageError, match="101 context files"):
        attach("Look", [text] * (MAX_FILES + 1))


def test_stdin_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"diff --git")))
    assert attach("Review", ["-"])[0] == 'Review\n\n<file name="stdin">\ndiff --git\n</file>'
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="it is closed"):
        attach("Review", ["-"])


def test_a_name_that_is_no_text_stays_on_one_line(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\n<b>"))
    file.write_text("x")
    assert attach("Look", [file])[0].splitlines()[2] == f'<file name="{tmp_path}/a? &lt;b&gt;">'


async def test_both_reach_every_model_and_the_log(tmp_path: Path) -> None:
    picture, notes = written(tmp_path / "p.png", PNG), written(tmp_path / "n.txt", "Canberra")
    async with Simulator(Team(final="Seen.")) as simulator:
        backend = {"type": "chatcompletion", "model": "m", "base_url": simulator.base_url}
        team: dict[str, Any] = {"agents": [{"backend": backend}, {"backend": {**backend, "model": "n"}}]}
        result = await massgen.arun("What is it?", team, context=[picture, notes], session_dir=tmp_path)
        bodies = [record.body["messages"][1]["content"] for record in simulator.calls]
    assert result.answer == "Seen."
    assert len(bodies) == 5
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    for text, image in bodies:
        assert "Canberra\n</file>" in text["text"]
        assert image == {"type": "image_url", "image_url": {"url": url}}
    asked = read(result.session / "events.jsonl")[0].fact
    assert asked.media[0].name == str(picture)


@pytest.mark.timeout(60)  # importing litellm takes seconds
@pytest.mark.filterwarnings("ignore:Accessing the '.*' attribute on the instance is deprecated")
@pytest.mark.filterwarnings("ignore:.*`ReadOnly` qualifier")
@pytest.mark.parametrize(("kind", "key"), [("claude", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY")])
async def test_an_image_reaches_the_providers_behind_the_gateway_in_their_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, key: str
) -> None:
    monkeypatch.setenv(key, "sk-0123456789")
    picture, data = written(tmp_path / "p.png", PNG), base64.b64encode(PNG).decode()
    async with Simulator(Team(final="Seen.")) as simulator:
        backend = {"type": kind, "model": f"{kind}-x", "base_url": simulator.address(kind)}
        result = await massgen.arun("Look", {"agents": [{"backend": backend}]}, context=[picture], session_dir=tmp_path)
        (sent,) = [record.body for record in simulator.calls]
    assert (result.answer, result.failures) == ("Seen.", {})
    assert {
        "claude": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
        "gemini": {"inline_data": {"mime_type": "image/png", "data": data}},
    }[kind] in (sent["messages"][-1]["content"] if kind == "claude" else sent["contents"][-1]["parts"])
