"""The editor of the interactive mode: several lines, earlier questions, completion. prompt_toolkit's only importer."""

import os
import sys
from collections.abc import Iterable
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from massgen.commands.interactive_history import Past
from massgen.commands.interactive_input import MORE, PROMPT, Interrupted
from massgen.commands.interactive_words import COMMANDS

_STYLE = Style.from_dict({"prompt": "bold", "accepted": "bold", "exiting": "noinherit"})


class Editor:
    """Reads questions on a terminal; `past` are the earlier ones."""

    def __init__(self, past: Past, *, input: Input | None = None, output: Output | None = None) -> None:  # noqa: A002
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=MORE,
            history=_History(past),
            completer=_Commands(),
            complete_while_typing=False,
            enable_suspend=True,
            key_bindings=_keys(),
            style=_STYLE,
            input=input,
            output=output,
        )

    async def read(self) -> str:
        clear_typeahead(self._session.input)  # what came behind the last question was not meant as the next
        try:
            return await self._session.prompt_async(set_exception_handler=False, handle_sigint=False)
        except OSError:  # the terminal has gone
            raise EOFError from None


def drawn_on(terminal: TextIO) -> Output:
    """What the editor draws on `terminal` with. It never asks where the cursor is: what answers late is read as typed."""
    if sys.platform == "win32":
        return create_output(terminal)
    output = Vt100_Output.from_pty(terminal, os.environ.get("TERM"), ColorDepth.from_env())
    output.enable_cpr = False
    return output


class _History(History):
    def __init__(self, past: Past) -> None:
        super().__init__()
        self._past = past

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._past.read())

    def store_string(self, string: str) -> None:
        self._past.add(string)


class _Commands(Completer):
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if text.startswith("/") and document.text == text:
            for name, (_, does) in COMMANDS.items():
                if f"/{name}".startswith(text):
                    yield Completion(f"/{name}", -len(text), display_meta=does)


def _keys() -> KeyBindings:
    keys, typing = KeyBindings(), has_focus(DEFAULT_BUFFER)
    keys.add("enter", filter=typing)(_enter)
    keys.add("escape", "enter", filter=typing)(_another_line)
    keys.add("c-c", filter=typing)(_clear)
    return keys


def _enter(event: KeyPressEvent) -> None:
    buffer = event.current_buffer
    if buffer.complete_state:
        buffer.complete_state = None
    elif event.key_processor.input_queue:  # more has come with it: pasted, on a terminal that does not say so
        _another_line(event)
    elif buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
        buffer.delete_before_cursor()
        _another_line(event)
    else:
        buffer.validate_and_handle()


def _another_line(event: KeyPressEvent) -> None:
    event.current_buffer.newline(copy_margin=False)


def _clear(event: KeyPressEvent) -> None:
    if event.current_buffer.text:
        event.current_buffer.reset()
    else:
        event.app.exit(exception=Interrupted())
