"""Python functions as tools: schema, arguments, results, errors."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from massgen.errors import ConfigError
from massgen.toolbox import Returned
from massgen.toolbox.agent import agent_toolbox
from massgen.toolbox.functions import MAX_THREADS, described, load
from massgen.toolbox.servers import Servers


class Unit(Enum):
    METRE = "m"
    FOOT = "ft"


class Box(BaseModel):
    width: float
    unit: Unit = Unit.METRE


def area(box: Box, times: Annotated[int, Field(description="How many.", ge=1)] = 1) -> dict[str, Any]:
    """The area of squares.

    All of them."""
    return {"area": box.width**2 * times, "unit": box.unit}


async def later(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()


def fails(how: str) -> None:
    """Fails."""
    if how == "exit":
        sys.exit("enough")
    raise ValueError(f"bad {how}")


async def test_the_schema_comes_from_type_hints_and_the_description_from_the_docstring() -> None:
    tool = described(area).tool
    assert (tool.name, tool.description) == ("area", "The area of squares.\n\nAll of them.")
    assert tool.parameters["required"] == ["box"]
    assert tool.parameters["properties"]["times"]["description"] == "How many."
    assert tool.parameters["$defs"]["Unit"]["enum"] == ["m", "ft"]
    assert tool.parameters["additionalProperties"] is False


async def test_arguments_are_checked_and_made_what_the_function_takes() -> None:
    function = described(area)
    good = await function.call({"box": {"width": "2", "unit": "ft"}, "times": 3}, 5)
    assert (good.content, good.is_error) == ('{"area":12.0,"unit":"ft"}', False)
    bad = await function.call({"box": {"unit": "mile"}, "times": 0, "more": 1}, 5)
    assert bad.is_error
    assert bad.content == (
        "box.width: Field required; box.unit: Input should be 'm' or 'ft'; times: Input should be greater than or equal "
        "to 1; more: Unexpected keyword argument"
    )


async def test_results_are_text_whatever_they_were() -> None:
    def give(what: str) -> object:
        return {"none": None, "bytes": b"\xff", "set": {1}, "other": threading.main_thread}[what]

    given = [(await described(give).call({"what": what}, 5)).content for what in ("none", "set")]
    assert given == ["", "[1]"]
    assert "main_thread" in (await described(give).call({"what": "other"}, 5)).content
    assert (await described(give).call({"what": "bytes"}, 5)).is_error
    assert (await described(later).call({"text": "ja"}, 5)).content == "JA"


async def test_half_a_character_does_not_reach_the_log() -> None:
    def half(fail: bool) -> str:
        if fail:
            raise ValueError("a\ud800")
        return "a\ud800"

    function = described(half)
    assert [(await function.call({"fail": fail}, 5)).content for fail in (False, True)] == ["a?", "ValueError: a?"]


async def test_a_result_that_is_too_large_is_cut_off() -> None:
    def large() -> str:
        return "x" * (17 * 2**20)

    assert len((await described(large).call({}, 5)).content) < 16 * 2**20 + 100


@pytest.mark.parametrize("how", ["luck", "exit"])
async def test_exceptions_are_errors_in_words_without_a_traceback(how: str) -> None:
    told = await described(fails).call({"how": how}, 5)
    assert told.is_error
    assert told.content in ("ValueError: bad luck", "RuntimeError: SystemExit: enough")


async def test_async_functions_may_fail_and_exit_too() -> None:
    async def leave() -> None:
        sys.exit("enough")

    assert (await described(leave).call({}, 5)).content == "SystemExit: enough"


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def exhausted() -> str:
    return next(iter(()))


def wordless() -> None:
    raise Wordless


async def gives_up() -> None:
    waiting = asyncio.create_task(asyncio.sleep(60))
    waiting.cancel()
    await waiting


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (exhausted, "RuntimeError: StopIteration: "),
        (wordless, "Wordless"),
        (gives_up, "the function cancelled what it waited for"),
    ],
)
async def test_no_exception_of_a_function_is_more_than_an_error_of_its_call(
    function: Callable[..., Any], told: str
) -> None:
    assert await described(function).call({}, 5) == Returned(told.strip(), is_error=True)


async def test_a_turn_that_ends_takes_its_function_along() -> None:
    begun = asyncio.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(described(waits).call({}, 5))
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_function_that_takes_too_long_is_given_up_and_does_not_hold_the_loop() -> None:
    gate = threading.Event()

    def waits() -> str:
        gate.wait(20)
        return "late"

    function = described(waits)
    began = time.monotonic()
    late = [await function.call({}, 0.05) for _ in range(2)]
    assert time.monotonic() - began < 2
    assert [each.content for each in late] == ["no result within 0.05 s; the call was given up"] * 2
    gate.set()


async def test_threads_that_do_not_return_are_bounded() -> None:
    gate = threading.Event()

    def waits() -> None:
        gate.wait(20)

    function = described(waits)
    waiting = [asyncio.create_task(function.call({}, 10)) for _ in range(MAX_THREADS)]
    await asyncio.sleep(0)
    refused = await function.call({}, 5)
    assert refused.content == "RuntimeError: 32 calls of this function have not returned yet"
    gate.set()
    assert not any(each.is_error for each in await asyncio.gather(*waiting))


def test_a_function_that_returns_after_the_loop_is_gone_bothers_nobody() -> None:
    gate, threads = threading.Event(), list[threading.Thread]()

    def waits() -> None:
        threads.append(threading.current_thread())
        gate.wait(20)

    assert asyncio.run(described(waits).call({}, 0.1)).is_error
    gate.set()
    threads[0].join(5)


async def test_a_function_says_by_an_attribute_what_it_does_and_is_taken_to_write_without() -> None:
    def reads() -> None: ...

    assert described(reads).access == "write"
    reads.access = "read"  # pyright: ignore[reportFunctionMemberAccess]
    assert described(reads).access == "read"
    reads.access = "destroy"  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(Exception, match="its attribute `access` is 'destroy'; allowed: read, write, irreversible"):
        described(reads)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = '''
"""Tools of one's own."""
import helper_of_tools

def double(n: int) -> int:
    """Twice as much."""
    return helper_of_tools.TWO * n

def positional(n, /): ...
def several(*all): ...
def unknown(n: "Nothing"): ...
constant = 3
'''
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "tools_of_test.py").write_text(text)
    (tmp_path / "team" / "helper_of_tools.py").write_text("TWO = 2")
    (tmp_path / "team" / "broken_of_test.py").write_text("1 / 0")
    for module in ("tools_of_test", "helper_of_tools", "broken_of_test"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path / "team"


async def test_functions_are_loaded_from_the_configurations_folder(folder: Path) -> None:
    before = [*sys.path]
    (double,) = load(["tools_of_test:double"], folder)
    assert sys.path == before
    assert (double.tool.description, (await double.call({"n": 4}, 5)).content) == ("Twice as much.", "8")
    (found,) = load(["textwrap:dedent"])
    assert found.tool.name == "dedent"


async def test_a_function_may_name_its_folder_and_is_the_same_tool_wherever_that_is(folder: Path) -> None:
    (double,) = load([f"{folder}/tools_of_test:double"])
    assert (double.source, double.tool.name) == ("tools_of_test:double", "double")
    assert (await double.call({"n": 4}, 5)).content == "8"


@pytest.mark.parametrize("name", ["random", "sys"])
def test_a_module_that_is_called_like_one_of_pythons_is_never_mistaken_for_it(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("def exit(): ...\ndef choice(): ...")
    with pytest.raises(
        ConfigError, match=f"another module is called '{name}', and is loaded already: .*rename this one"
    ):
        load([f"{name}:{'exit' if name == 'sys' else 'choice'}"], tmp_path)


def test_all_that_cannot_be_loaded_is_told_at_once(folder: Path) -> None:
    wrong = ["double", "several", "positional", "unknown", "constant", "missing"]
    with pytest.raises(ConfigError) as error:
        load([*(f"tools_of_test:{name}" for name in wrong), "broken_of_test:f", "not_there:f"], folder)
    told = [each.partition("': ")[2] for each in error.value.problems]
    assert told[:2] == [
        "its parameter 'all' cannot be given by name; tools are called by name alone",
        "its parameter 'n' cannot be given by name; tools are called by name alone",
    ]
    assert told[2].startswith("it cannot be loaded: ")
    assert told[3:5] == [
        "the module 'tools_of_test' has no function 'constant'",
        "the module 'tools_of_test' has no function 'missing'",
    ]
    assert told[5:] == [
        "it cannot be loaded: ZeroDivisionError: division by zero",
        "no module 'not_there' is in the configuration's folder or installed",
    ]
    assert error.value.problems[0].startswith("tools[1]: 'tools_of_test:several'")


def named(name: str) -> Callable[[], str]:
    def function() -> str:
        return name

    function.__name__ = name
    return function


async def test_functions_are_offered_first_and_never_under_a_reserved_name_or_anothers() -> None:
    functions = [described(named("vote"), "a:vote"), described(named("sum"), "a:sum"), described(named("sum"), "b:sum")]
    async with Servers() as servers:
        none = agent_toolbox(servers, {}, functions, excluded=["*"])
        assert await none.offered() == []
        tools = agent_toolbox(servers, {}, functions, reserved=("vote", "new_answer"), access={"sum": "read"})
        names = {each.tool.name: each.access for each in await tools.offered()}
        first, second, third = names
        assert first.startswith("vote_")
        assert second == "sum"
        assert third.startswith("sum_")
        assert names == {first: "write", "sum": "read", third: "write"}
        assert [(await tools.call(name, {})).content for name in names] == ["vote", "sum", "sum"]
        assert (await tools.call("vote", {})).content == "no tool is called 'vote'"
