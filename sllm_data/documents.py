"""Configuration documents: YAML that people write, what is wrong with it, what changed in it.

What `run.yaml` and `train.yaml` share; what stands in them is for their owners to say.
"""

import difflib
import functools
import json
import reprlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from sllm_data.errors import ConfigError, PoolError
from sllm_data.seeding import hash128
from sllm_data.yaml_file import parse_yaml, read_yaml

Document = dict[str, Any]  # Any: a YAML document before pydantic has checked it


def read_document(path: Path) -> Document:
    """Reads a YAML file that must be a mapping of names to values.

    Raises:
        ConfigError: It can't be read, or is something else.
    """
    try:
        document = read_yaml(path).data
    except PoolError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigError(f"{path}: must be a mapping of names to values")
    return document


def merged(base: Document, over: Mapping[str, Any], *, replaced: Collection[str] = ()) -> Document:
    """Returns a document over another one, a mapping over a mapping key by key.

    Args:
        base: What lies below.
        over: What wins.
        replaced: Keys whose mappings replace what is below instead.
    """
    found = dict(base)
    for key, value in over.items():
        old = found.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and key not in replaced:
            found[key] = merged(old, value, replaced=replaced)
        else:
            found[key] = value
    return found


def apply_override(document: Document, override: str) -> None:
    """Puts a value of `--set a.b=value` into a document.

    Raises:
        ConfigError: It is no name with a value, or leads nowhere.
    """
    path, sign, text = override.partition("=")
    if not sign or not path:
        raise ConfigError(f"--set must be name=value, got {override!r}")
    try:
        value, _ = parse_yaml(text, where="the value")
    except PoolError as error:
        raise ConfigError(
            f"--set {path}: the value must be YAML, got {text!r} ({error})"
        ) from error
    *parents, last = path.split(".")
    level: Any = document
    for name in parents:
        level = (
            level[_index(level, name)] if isinstance(level, list) else level.setdefault(name, {})
        )
        if not isinstance(level, dict | list):
            raise ConfigError(f"--set {path}: {name!r} is a value, it has no fields")
    if isinstance(level, list):
        level[_index(level, last)] = value
    else:
        level[last] = value


_MAX_INDEX_DIGITS = 9


def _index(values: list[Any], name: str) -> int:
    if not name.isdecimal() or len(name) > _MAX_INDEX_DIGITS or int(name) >= len(values):
        raise ConfigError(f"--set: {name!r} must be a position from 0 to {len(values) - 1}")
    return int(name)


def sentence_of(
    error: ValidationError, model: type[BaseModel], *, tags: Collection[str] = ()
) -> str:
    """Words the first problem: which field, what it must be, what was found.

    Args:
        error: Of a document that should have been a `model`.
        model: Whose keys are named where one was misspelt.
        tags: Names of kinds, which pydantic puts between the names of fields.
    """
    problems = error.errors()
    # a misspelt key makes the right one missing: it is the one to tell
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    at = ".".join(str(part) for part in first["loc"] if part not in tags) or "the document"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        is_outermost = len(first["loc"]) == 1
        known = sorted(model.model_fields if is_outermost else _known_fields(model))
        close = difflib.get_close_matches(str(first["loc"][-1])[:_MAX_KEY], known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"{at} is not a known key{hint}{more}"
    if first["type"] == "missing":
        return f"{at} must be given{more}"
    if first["type"] == "union_tag_not_found":
        tag = str(first["ctx"]["discriminator"]).strip("'")
        return f"{at}.{tag} must be given{more}"
    if first["type"] == "union_tag_invalid":
        tag = str(first["ctx"]["discriminator"]).strip("'")
        known_tags = first["ctx"]["expected_tags"].replace("'", "")
        return f"{at}.{tag} must be one of {known_tags}, got {first['ctx']['tag']!r}{more}"
    if first["type"] == "string_pattern_mismatch":
        form = _form(model, str(first["loc"][-1]), first["ctx"]["pattern"])
        return f"{at}: must fit {form}{_found(first['input'])}{more}"
    rule = _PLAIN.get(first["type"], "").format(**first.get("ctx", {})) or (
        first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    )
    return f"{at}: {rule}{_found(first['input'])}{more}"


def _found(given: object) -> str:
    # what a URL holds beside its place may be a key
    is_secret = isinstance(given, str) and "://" in given and not {"@", "?"}.isdisjoint(given)
    return "" if isinstance(given, dict) or is_secret else f", got {_SHORT.repr(given)}"


_LIST, _MAPPING = "must be a list", "must be a mapping of names to values"
_PLAIN = {  # where pydantic's own words are Python's
    "tuple_type": _LIST,
    "list_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "too_short": "must list at least {min_length}",
    "too_long": "must list at most {max_length}",
}
_MAX_KEY = 60  # looking for what a longer one resembles takes long and finds nothing
_SHORT = reprlib.Repr()  # what was found may be of any size; a sentence is not
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlevel = 200, 200, 2


@functools.cache
def _known_fields(model: type[BaseModel]) -> set[str]:
    return {name for name, _ in _fields(model)}


def _form(model: type[BaseModel], name: str, pattern: str) -> str:
    """What a text must look like, in the words of its field where there are some."""
    for other, field in _fields(model):
        if other == name and "pattern" in str(field) and "description" in field:
            return f"its description, {field['description']!r}"
    return f"the pattern {pattern}"


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Document]]:
    definitions = model.model_json_schema()
    for schema in (definitions, *definitions.get("$defs", {}).values()):
        yield from schema.get("properties", {}).items()


def identity_of(config: BaseModel) -> Document:
    """Returns the fields that rows depend on, nested, as plain JSON values."""
    kept: Document = {}
    for name, field in type(config).model_fields.items():
        extra = field.json_schema_extra
        change = extra.get("change", "identity") if isinstance(extra, dict) else "identity"
        if change == "operational":
            continue
        kept[name] = _plain(getattr(config, name))
    return kept


def _plain(value: Any) -> Any:  # Any: a field's value, its JSON form
    if isinstance(value, BaseModel):
        return identity_of(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def identity_hash(*parts: Any) -> str:  # Any: JSON values
    """Hashes plain values by their canonical JSON."""
    return hash128(json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


def differences(old: Any, new: Any, at: str = "") -> list[str]:  # Any: JSON values
    """Lists the fields that differ, as `name: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted({*old, *new}, key=str):  # a damaged run.yaml may hold other keys
            found += differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for position, (before, after) in enumerate(zip(old, new, strict=True))
            for line in differences(before, after, f"{at}.{position}")
        ]
    return [] if old == new else [f"{at}: {old!r} -> {new!r}"]
