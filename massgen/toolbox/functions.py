"""Python functions as tools: their schema from type hints, their description from their docstring."""

import asyncio
import contextvars
import importlib
import inspect
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast, get_args

from massgen.backends import Tool
from massgen.config.tools import Access, meant
from massgen.errors import ConfigError, Problem
from massgen.toolbox import Returned
from massgen.toolbox.names import unlike
from massgen.toolbox.results import MAX_RESULT, failed, writable
from massgen.toolbox.schemas import accepted

MAX_THREADS = 32
"""Of one function, at once. One that never returns keeps its thread until massgen ends; no thread keeps massgen."""


@dataclass(frozen=True)
class Function:
    """A function that agents may call. Made by `load`."""

    tool: Tool
    access: Access
    source: str
    """`module:function`."""
    run: Callable[[Mapping[str, Any]], Any]
    """Checks the arguments, and calls it; raises what it raises, and `ValueError` for wrong arguments."""
    is_async: bool
    slots: threading.BoundedSemaphore

    async def call(self, arguments: Mapping[str, Any], timeout: float) -> Returned:
        """What it returns, as text. Its exceptions are errors in words, without a traceback."""
        try:
            async with asyncio.timeout(timeout):
                result = await (self.run(arguments) if self.is_async else self._in_thread(arguments))
            return Returned(_text(result))
        except TimeoutError as error:
            return failed(str(error) or f"no result within {timeout:g} s; the call was given up")
        except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's code
            return failed(_said(error))
        except asyncio.CancelledError:
            if (asking := asyncio.current_task()) and asking.cancelling():
                raise
            return failed("the function cancelled what it waited for")  # which is no order to end the turn

    async def _in_thread(self, arguments: Mapping[str, Any]) -> Any:
        """In a thread of its own, and a daemon: the loop's pool would be waited for when massgen ends."""
        if not self.slots.acquire(blocking=False):
            raise RuntimeError(f"{MAX_THREADS} calls of this function have not returned yet")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                result, error = context.run(self.run, arguments), None
            except BaseException as raised:  # noqa: BLE001 - even SystemExit would end this thread alone, unseen
                result, error = None, raised
            finally:
                self.slots.release()
            with suppress(RuntimeError):  # the loop is gone: nobody waits for it any longer
                loop.call_soon_threadsafe(_settle, done, result, error)

        threading.Thread(target=work, name=f"tool-{self.tool.name}", daemon=True).start()
        return await done


def _said(error: BaseException) -> str:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):  # of its arguments, mostly
        every = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in every)
    return _in_words(error)


def _in_words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - its own `__str__` may fail
        return type(error).__name__


def _settle(done: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):  # which a future does not take
        done.set_exception(error)
    else:
        done.set_exception(RuntimeError(_in_words(error)))


def _text(result: Any) -> str:
    if result is None or isinstance(result, str):
        text = writable(result or "")
    else:
        from pydantic_core import to_json

        text = to_json(result, fallback=str).decode()
    return text if len(text) <= MAX_RESULT else f"{text[:MAX_RESULT]}\n[cut off: {len(text)} characters]"


def load(sources: Sequence[str], folder: Path | None = None) -> tuple[Function, ...]:
    """The functions that `sources` name, as `module:function` or `FOLDER/module:function`. Raises `ConfigError` with all
    that is wrong.

    A module is looked for in its folder (`folder`, if it names none), then where Python finds modules. Importing it runs
    it: a configuration from elsewhere that names functions beside it is a program from elsewhere."""
    found, problems = list[Function](), list[Problem]()
    for place, source in enumerate(sources):
        try:
            found.append(_loaded(source, folder))
        except Exception as error:  # noqa: BLE001 - importing runs somebody else's code
            problems.append(Problem(f"{source[:100]!r}: {_why(error)}", f"tools[{place}]"))
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _why(error: Exception) -> str:
    if isinstance(error, _Unfit):
        return str(error)
    return f"it cannot be loaded: {type(error).__name__}: {str(error)[:300]}"


class _Unfit(Exception):
    """A function that is none, or cannot be a tool."""


def _loaded(source: str, folder: Path | None) -> Function:
    above, slash, short = source.rpartition("/")
    name, _, wanted = short.partition(":")
    near = Path(f"{above}/") if slash else folder
    with _first_on_path(near):
        module = _imported(name)
    if near:
        _check_place(name, getattr(module, "__file__", None), near)
    function = getattr(module, wanted, None)
    if not callable(function):
        others = [each for each, value in vars(module).items() if callable(value)]
        raise _Unfit(f"the module {name!r} has no function {wanted!r}{meant(wanted, others)}")
    return described(function, short)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise _Unfit(f"no module {error.name!r} is in the configuration's folder or installed") from None
        raise


def _check_place(name: str, file: str | None, folder: Path) -> None:
    """Python keeps one module of a name: the one that is loaded may be another folder's, or its own."""
    path = folder.resolve() / name.replace(".", "/")
    if path.with_suffix(".py").is_file() and not (file and Path(file).resolve().is_relative_to(folder.resolve())):
        raise _Unfit(
            f"another module is called {name!r}, and is loaded already: {file or 'one of Python'}; rename this one"
        )


_importing = threading.Lock()


@contextmanager
def _first_on_path(folder: Path | None) -> Generator[None]:
    if folder is None:
        yield
        return
    entry = str(folder.resolve())
    with _importing:
        sys.path.insert(0, entry)
        try:
            yield
        finally:
            sys.path.remove(entry)


def described(function: Callable[..., Any], source: str = "") -> Function:
    """`function` as a tool, called as in `source`, `module:function`. Its attribute `access`, if it has one, says what it does;
    else it is taken to `write`."""
    from pydantic import TypeAdapter
    from pydantic_core import ArgsKwargs

    name = source.rpartition(":")[2] or getattr(function, "__name__", type(function).__name__)
    _check(function)
    adapter = TypeAdapter(cast("type[Any]", function))  # pydantic takes functions too
    access: Any = getattr(function, "access", "write")
    if access not in get_args(Access):
        raise _Unfit(f"its attribute `access` is {str(access)[:40]!r}; allowed: {', '.join(get_args(Access))}")
    return Function(
        Tool(unlike(name, source or name), inspect.getdoc(function) or "", accepted(adapter.json_schema())),
        access,
        source or name,
        lambda arguments: adapter.validate_python(ArgsKwargs((), dict(arguments))),
        inspect.iscoroutinefunction(inspect.unwrap(function)),
        threading.BoundedSemaphore(MAX_THREADS),
    )


def _check(function: Callable[..., Any]) -> None:
    for each in inspect.signature(function).parameters.values():
        if each.kind in (each.POSITIONAL_ONLY, each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise _Unfit(f"its parameter {each.name!r} cannot be given by name; tools are called by name alone")
