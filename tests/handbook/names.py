"""Names in running text: flags, variables, files, templates, commands, settings, models and versions must exist."""

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click

from massgen import __version__, cli, examples
from massgen.backends.providers import PROVIDERS
from tests.handbook.console import commands
from tests.handbook.fences import Problem, fences, prose

VARIABLES = {
    "MASSGEN_HOME": "Folder for sessions (`data`), models (`cache`) and the user's configuration (`config`), instead of the platform's own places.",
    "MASSGEN_PROFILE": "The profile of the configuration to use, unless `--profile-name` says another.",
    "MASSGEN_LOCAL_MODEL": "A GGUF file that embedded agents use instead of the catalogue's models.",
    "MASSGEN_DEBUG": "If it is not empty, an unexpected error shows its traceback.",
    "HF_ENDPOINT": "The hub that models are fetched from where the package index has them not; `https://huggingface.co` if not set.",
    "NO_COLOR": "If it is not empty, nothing is coloured.",
    "TERM": "`dumb`: the live view is replaced by lines.",
    "HTTPS_PROXY": "The proxy to providers; `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are respected too.",
    "SSL_CERT_FILE": "Certificates to trust instead of the system's.",
}
"""What a user can set, beside the providers' keys and addresses."""
INTERNAL = {
    "PATH",  # the system's: where programs are
    "_MASSGEN_COMPLETE",
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_MODE",
    "PYDANTIC_DISABLE_PLUGINS",
    "OMP_WAIT_POLICY",
    "TIKTOKEN_CACHE_DIR",
}
"""What massgen sets for the libraries it uses."""
ELSEWHERE = {
    "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "MY_API_KEY",
    "MASSGEN_BASE_URL", "MASSGEN_MODEL", "MASSGEN_API_KEY", "MASSGEN_TEST_MODELS",
}  # fmt: skip
"""Variables that a page may name and massgen does not read by that name: the system's, the reader's, the templates', the tests'."""
FOREIGN = ("vllm", "python", "pip", "ollama", "git", "make", "llama-server", "apt-get", "npm")
"""Programs whose flags are not ours to know."""
_HELP = ["-h", "--help"]

_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LOOKED_UP = re.compile(r"""\b(?:get|getenv|setdefault|pop)\(\s*\w?["'][^"'a-z]+["']""")
"""What every call that `undocumented_variables` looks for is written like: files without it need no parsing."""
_MODEL = re.compile(r"(?:gpt|claude|gemini|grok|o\d)-[a-z0-9][\w.-]*")


def problems(page: Path) -> Iterator[Problem]:
    """Every name on `page` that nothing has."""
    text = prose(page.read_text("utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        for code in _CODE.findall(line):
            for kind, check in _CHECKS.items():
                for what, fix in check(code):
                    yield Problem(f"{page}:{number}", kind, what, fix)
    yield from _shell(page)
    yield from _sold(page)
    if page.name != "CHANGELOG.md":
        yield from _versions(page)


@cache
def flags() -> frozenset[str]:
    """Every option of every command."""
    return frozenset(option for command in every_command().values() for option in _options(command))


def _options(command: click.Command) -> list[str]:
    parameters = command.get_params(click.Context(command, help_option_names=_HELP))
    return [
        name
        for parameter in parameters
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    ]


@cache
def every_command() -> dict[str, click.Command]:
    """`massgen`, `massgen models`, `massgen models list`, ... with what click knows of each."""
    found: dict[str, click.Command] = {"massgen": cli.command("ask")}
    for name in cli.COMMANDS:
        group = cli.command(name)
        found[f"massgen {name}"] = group
        if isinstance(group, click.Group):
            found |= {f"massgen {name} {each}": command for each, command in group.commands.items()}
    return found


def check_command(words: list[str]) -> None:
    """Let click read the arguments `words` of massgen as it would, without running them; it raises what is wrong with them."""
    command = cli.command(words.pop(0) if words and words[0] in cli.COMMANDS else "ask")
    asked = [word for word in words if word not in {*_HELP, "--version"}]
    if isinstance(command, click.Group) and asked:
        context = command.make_context("massgen", [*asked], help_option_names=_HELP)
        rest = [*getattr(context, "_protected_args", ()), *context.args]  # of click 9 `args` has all of it
        _, found, asked = command.resolve_command(context, rest)
        command = found or command
    if not {*_HELP, "--version"} & {*words}:
        command.make_context("massgen", asked, help_option_names=_HELP)


def _flags(code: str) -> Iterator[tuple[str, str]]:
    if Path(code.split(maxsplit=1)[0]).name in FOREIGN:
        return
    for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
        if flag not in flags():
            yield f"no command has the option {flag}", "massgen --help and the help of its commands tell them."


def _variables(code: str) -> Iterator[tuple[str, str]]:
    for name in re.findall(r"(?<![\w.])\$?\{?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b", code):
        if name not in known_variables():
            yield (
                f"nothing reads the variable {name}",
                "Add it to VARIABLES in tests/handbook/names.py, if massgen does.",
            )


@cache
def known_variables() -> frozenset[str]:
    keys = {name for row in PROVIDERS.values() for name in (*row.key_variables, *row.url_variables)}
    constants = set(re.findall(r"^ *([A-Z][A-Z_]+)\b", _sources(), re.MULTILINE))
    return frozenset({*VARIABLES, *INTERNAL, *ELSEWHERE, *keys, *constants})


def _files(code: str) -> Iterator[tuple[str, str]]:
    if re.fullmatch(r"(?:massgen|tests|examples|handbook|benchmarks)/[\w./-]*", code) and not Path(code).exists():
        yield f"there is no {code}", "Name what is there."


def _templates(code: str) -> Iterator[tuple[str, str]]:
    for name in re.findall(r"@examples/([\w/-]+)", code):
        if name not in {*examples.names(), "NAME"}:
            yield f"no template is called {name}", "massgen examples list tells them."


def _make(code: str) -> Iterator[tuple[str, str]]:
    if (found := re.match(r"make ([a-z-]+)", code)) and found[1] not in make_targets():
        yield f"make has no target {found[1]}", "The Makefile has them."


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", Path("Makefile").read_text("utf-8"), re.MULTILINE))


def _identifiers(code: str) -> Iterator[tuple[str, str]]:
    """Settings, fields, functions: whatever is written like one must stand somewhere in the sources."""
    for name in re.findall(r"(?<![\w/-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w/-])", code):
        if name not in _words():
            yield f"nothing is called {name}", "It was renamed, removed, or misspelt."


def _settings(code: str) -> Iterator[tuple[str, str]]:
    """`orchestrator.coordination.max_orchestration_restarts`: a path of the configuration, from its top."""
    from massgen.config import Config, keys

    head, *rest = code.split(".")
    if not rest or head not in Config.model_fields or not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", code):
        return
    path: list[str | int] = [head]
    for step in rest:
        if isinstance(path[-1], str) and path[-1] == "agents":
            path.append(0)
        if step not in keys(tuple(path)):
            yield f"the configuration has no {code}", "reference/configuration.md has them all."
            return
        path.append(step)


def _commands(code: str) -> Iterator[tuple[str, str]]:
    if re.match(r"massgen [a-z@\"-]", code) and not re.search(r"\.\.\.|\b[A-Z]{3,}\b", code):
        try:
            check_command([re.sub(r"^[A-Z]+$", "x", word) for word in shlex.split(code)[1:]])
        except click.MissingParameter:
            return  # it is only named
        except (click.ClickException, ValueError) as error:
            yield f"{code}: {error}", "massgen --help tells what there is."


def _models(code: str) -> Iterator[tuple[str, str]]:
    if _MODEL.fullmatch(code) and code not in price_list():
        yield f"no provider sells {code}", "massgen models list --provider TYPE tells them."


def _sold(page: Path) -> Iterator[Problem]:
    """The models of shell and YAML fences."""
    for fence in fences(page):
        for number, line in enumerate(fence.body.splitlines(), fence.line + 1):
            if fence.language in ("yaml", "console", "bash"):
                for model in re.findall(rf"(?:model: |--model )[\"']?({_MODEL.pattern})", line):
                    for what, fix in _models(model):
                        yield Problem(f"{page}:{number}", "model", what, fix)


@cache
def price_list() -> frozenset[str]:
    """Every model of litellm's price list, with and without its provider's prefix."""
    spec = find_spec("litellm")
    assert spec
    assert spec.origin
    rows = json.loads((Path(spec.origin).parent / "model_prices_and_context_window_backup.json").read_bytes())
    return frozenset({*rows, *(name.rpartition("/")[2] for name in rows)})


_CHECKS: dict[str, Callable[[str], Iterator[tuple[str, str]]]] = {
    "flag": _flags, "variable": _variables, "file": _files, "template": _templates, "make": _make,
    "name": _identifiers, "setting": _settings, "command": _commands, "model": _models,
}  # fmt: skip


def _shell(page: Path) -> Iterator[Problem]:
    """Every `massgen` command of a shell fence is one. Those of console fences are run, too."""
    for fence in fences(page):
        if fence.language == "console":
            # What is shown to fail may be wrong.
            told = [(each.line, each.text) for each in commands(fence) if "[exit code" not in each.expected]
        elif fence.language == "bash":
            told = [(fence.line + 1 + n, line) for n, line in enumerate(fence.body.replace("\\\n", "  ").splitlines())]
        else:
            continue
        for line, text in told:
            for what in _wrong(text):
                yield Problem(f"{page}:{line}", "command", what, "massgen --help tells what there is.")


def _wrong(text: str) -> Iterator[str]:
    for part in re.split(r" (?:\||&&) |; ", text.replace("\\\n", " ")):
        try:
            words = shlex.split(re.sub(r"[0-9]?[<>]+ ?&?\S+", "", part), comments=True)
            while len(words) > 1 and re.match(r"[A-Z_]+=|timeout$|-\S+$|INT$|\d+$", words[0]):
                words.pop(0)
            if words and words[0] == "make":
                yield from (what for what, _ in _make(" ".join(words)))
            if words and Path(words[0]).name == "massgen":
                check_command(words[1:])
        except (click.ClickException, ValueError) as error:
            yield f"{part.strip()}: {error.format_message() if isinstance(error, click.ClickException) else error}"


def _versions(page: Path) -> Iterator[Problem]:
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        for version in re.findall(r"\bmassgen[ =]+v?(\d+\.\d+\.\d+)", line):
            if version != __version__:
                yield Problem(
                    f"{page}:{number}", "version", f"massgen is {__version__}, not {version}", "make docs-update"
                )


@cache
def _sources() -> str:
    files = [path for root in ("massgen", "examples", "tests", "benchmarks") for path in _written(Path(root))]
    return "\n".join(path.read_text("utf-8") for path in [*files, Path("pyproject.toml"), Path("Makefile")])


def _written(folder: Path) -> Iterator[Path]:
    """Code and settings below `folder`: neither the gate's own, nor what npm put there."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in ("handbook", "node_modules", "__pycache__"):
            yield from _written(path)
        elif path.suffix in (".py", ".yaml", ".toml") and "handbook" not in path.name:
            yield path


@cache
def _words() -> frozenset[str]:
    return frozenset(re.findall(r"\w+", _sources()))


def undocumented_variables() -> Iterator[Problem]:
    """What the package looks up like a variable of the environment and is in no table."""
    keys = {name for row in PROVIDERS.values() for name in (*row.key_variables, *row.url_variables)}
    told = {*VARIABLES, *INTERNAL, *keys}
    for path in sorted(Path("massgen").rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if _LOOKED_UP.search(text) else ():
            match node:
                case ast.Call(
                    ast.Attribute(attr="get" | "getenv" | "setdefault" | "pop"), [ast.Constant(str(name)), *_]
                ) if name.isupper() and name not in told:
                    where = f"{path}:{node.lineno}"
                    yield Problem(
                        where, "variable", f"{name} is on no page", "Add it to VARIABLES in tests/handbook/names.py."
                    )
                case _:
                    pass
