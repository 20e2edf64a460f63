"""What is found on a machine: real servers on loopback, good and bad ones."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from massgen.backends.providers import PROVIDERS
from massgen.discovery import ANSWER_SECONDS, MAX_LISTING, found, missing_key, served
from massgen.errors import MassgenError
from tests.providers import Simulator, Team
from tests.test_newcomer import NO_SERVERS

KEY = "sk-very-secret-0123456789"
SERVERS = {"ollama", "lmstudio", "vllm", "sglang"}


@contextmanager
def server(body: bytes, status: int = 200) -> Iterator[str]:
    """The address of a server that replies to everything with `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@contextmanager
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def types(env: dict[str, str]) -> list[str]:
    return [each.provider.type for each in found({**NO_SERVERS, **env}) if each.provider.type != "sglang"]


def test_a_provider_is_found_by_any_of_its_variables_and_its_key_stays_where_it_is() -> None:
    here = found({**NO_SERVERS, "GOOGLE_API_KEY": KEY, "XAI_API_KEY": " ", "GROQ_API_KEY": KEY})
    assert [(each.provider.type, each.how) for each in here if each.provider.type not in {"local", *SERVERS}] == [
        ("groq", "the variable GROQ_API_KEY is set"),
        ("gemini", "the variable GOOGLE_API_KEY is set"),
    ]
    assert KEY not in repr(here)


def test_the_embedded_model_comes_last() -> None:
    assert types({"OPENAI_API_KEY": KEY}) == ["openai", "local"]


async def test_servers_are_found_where_their_variables_say() -> None:

    async with Simulator(Team(), models=("a", "b")) as first, Simulator(Team(), models=("c",)) as second:
        env = {
            **NO_SERVERS,
            "OLLAMA_API_BASE": first.base_url.removesuffix("/v1"),
            "LM_STUDIO_API_BASE": second.base_url,
        }
        here = await asyncio.to_thread(found, env)
    assert [
        (each.provider.type, each.how, each.models) for each in here if each.provider.type in ("ollama", "lmstudio")
    ] == [
        ("ollama", f"at {first.base_url}", ("a", "b")),
        ("lmstudio", f"at {second.base_url}", ("c",)),
    ]


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"<html>It works!</html>", 200, "Expecting value"),
        (b'{"models": []}', 200, "it lists no models"),
        (b"[" * 900_000, 200, "recursion"),
        (b'{"data": [' + b" " * 2 * MAX_LISTING + b"]}", 200, "Expecting value"),
        (b"{}", 404, "status 404"),
    ],
)
def test_what_answers_otherwise_is_no_model_server(body: bytes, status: int, why: str) -> None:
    with server(body, status) as address:
        with pytest.raises(MassgenError, match=why) as caught:
            served(PROVIDERS["vllm"], {"HOSTED_VLLM_API_BASE": address}, 5)
        assert "vllm" not in types({"HOSTED_VLLM_API_BASE": address})
    assert f"{address}/v1: vLLM does not answer" in str(caught.value)
    assert "or set HOSTED_VLLM_API_BASE" in str(caught.value)


def test_names_that_cannot_be_names_are_left_out() -> None:
    body = (
        b'{"data": [{"id": "good"}, {"id": "bad\\u001b[2J"}, {"id": 7}, "x", {"id": ""}, {"id": "'
        + b"n" * 201
        + b'"}]}'
    )
    with server(body) as address:
        assert served(PROVIDERS["vllm"], {"HOSTED_VLLM_API_BASE": address}, 5)[1] == ("good",)


@pytest.mark.parametrize("address", ["https://127.0.0.1:9", "http://127.0.0.1:99999", "nowhere", "http://[::1"])
def test_an_address_that_leads_nowhere_is_told(address: str) -> None:
    with pytest.raises(MassgenError, match=r"does not answer|which is no address"):
        served(PROVIDERS["ollama"], {"OLLAMA_API_BASE": address}, 5)
    assert "ollama" not in types({"OLLAMA_API_BASE": address})


def test_silent_servers_are_waited_for_together_and_not_for_long() -> None:
    with silent() as address:
        began = time.monotonic()
        assert types(dict.fromkeys(NO_SERVERS, address)) == ["local"]
        assert time.monotonic() - began < 10 * ANSWER_SECONDS


def test_the_variable_that_is_missing_is_the_first_of_its_provider() -> None:
    assert missing_key(PROVIDERS["gemini"], {}) == "GEMINI_API_KEY"
    assert missing_key(PROVIDERS["gemini"], {"GOOGLE_API_KEY": KEY}) == ""
    assert missing_key(PROVIDERS["ollama"], {}) == ""
