"""The JSON Schema of a configuration, for editors: what may be written, and what it means, while one types."""

import ast
import functools
import inspect
import itertools
from types import ModuleType
from typing import Any, cast

from massgen import config
from massgen.config import limits as config_limits
from massgen.config import tools as config_tools
from massgen.config.layers import MAX_PROFILES

_MODULES = (config, config_limits, config_tools)

_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_WHOLE = {"required": ["backend"], "properties": {"backend": {"required": ["type"]}}}
_SINGLE = "A team of one, which answers alone. Instead of `agents`."
_EXTENDS = (
    "Another configuration beneath this one: its path, from this file's folder, or `@examples/NAME`. Mappings are merged "
    "key by key, agents by `id`; everything else is replaced."
)
_PROFILES = (
    "Changes by name, such as `dev` and `prod`. `--profile-name` or the variable MASSGEN_PROFILE chooses one; it is laid "
    "over the file as the file is over what it extends."
)


def schema() -> dict[str, Any]:
    """In draft 2020-12. Agents need a model only where no other file and no profile can supply it."""
    top = _plain(config.Config.model_json_schema())
    sections: dict[str, Any] = {**top.pop("$defs"), "Config": top}
    told = field_texts()
    for name, section in sections.items():
        section.pop("required", None)
        for key, each in section["properties"].items():
            each["description"] = told[f"{name}.{key}"]
    del sections["Config"]
    single = {"$ref": "#/$defs/AgentConfig", "description": _SINGLE}
    layer = {
        **top,
        "properties": {**top["properties"], "agent": single},
        "not": {"type": "object", "required": ["agent", "agents"]},
    }
    profile = {**layer, "type": ["object", "null"], "description": "Changes to the configuration."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "massgen configuration",
        **layer,
        "properties": {**layer["properties"], **_own_keys()},
        "if": {"not": {"anyOf": [{"required": ["extends"]}, {"required": ["profiles"]}]}},
        "then": {
            "anyOf": [{"required": ["agents"]}, {"required": ["agent"]}],
            "properties": {"agent": _WHOLE, "agents": {"items": _WHOLE}},
        },
        "$defs": {**sections, "Profile": profile},
    }


def _own_keys() -> dict[str, Any]:
    profiles = {"additionalProperties": {"$ref": "#/$defs/Profile"}, "maxProperties": MAX_PROFILES}
    return {
        "extends": {"type": "string", "minLength": 1, "description": _EXTENDS},
        "profiles": {"type": ["object", "null"], **profiles, "description": _PROFILES},
    }


@functools.cache
def field_texts() -> dict[str, str]:
    """`Section.field` -> the text under that field, wherever it is inherited from."""
    own = {name: text for module in _MODULES for name, text in texts_below(module).items()}
    every = [each for module in _MODULES for each in vars(module).values() if isinstance(each, type)]
    return {
        f"{section.__name__}.{name}": next(
            own[key] for base in section.__mro__ if (key := f"{base.__name__}.{name}") in own
        )
        for section in every
        if issubclass(section, config_tools.Section)
        for name in section.model_fields
    }


def texts_below(module: ModuleType) -> dict[str, str]:
    """`Class.name` -> the text under that field or member. Read from the source: at import it would cost every run."""
    found: dict[str, str] = {}
    for node in [each for each in ast.parse(inspect.getsource(module)).body if isinstance(each, ast.ClassDef)]:
        for stated, text in itertools.pairwise(node.body):
            match stated, text:
                case (
                    (ast.AnnAssign(target=ast.Name(name)) | ast.Assign(targets=[ast.Name(name)])),
                    ast.Expr(ast.Constant(str(words))),
                ):
                    found[f"{node.name}.{name}"] = " ".join(words.split())
                case _:
                    pass
    return found


def _plain(part: Any) -> Any:
    """Without the titles that pydantic makes of names; and a variable may stand where only some words are allowed."""
    if isinstance(part, list):
        return [_plain(each) for each in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    entries = cast("dict[str, Any]", part).items()
    kept = {key: _plain(each) for key, each in entries if not (key == "title" and isinstance(each, str))}
    return _or_variable(kept) if kept.get("type") == "string" and kept.keys() & {"enum", "pattern"} else kept


def _or_variable(text: dict[str, Any]) -> dict[str, Any]:
    outside = {"default": text.pop("default")} if "default" in text else {}
    return {**outside, "anyOf": [text, _VARIABLE]}
