"""Documents that parse, with one thing in them that is of a wrong kind.

Changed bytes mostly end at the parser. What stands behind it (a number where a list should
be, a key too many, a text that holds anything) takes a document that is changed as data.
"""

import json
import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import yaml

Document = Any  # whatever JSON and YAML hold
_STRANGE: tuple[Document, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**5_000, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", " ", "x", "\x00", "\ud800", "\x1b[31m", "a\nb", "\u2028"),
    *("\ufeff", "../..", "/", "~nobody/x", "no", "0", "x" * 3_000, "é", "🦊", "%", "{{ x }}", "."),
    *([], {}, [[]], [None], [1, "x"], {"": 1}, {"a": {}}, {"x\ny": 1}, ["x"] * 300),
)
_MOST_CHANGES = (1, 1, 1, 2, 3)
_MOVED_SHARE = 0.1
_HALF = 0.5


def changed(rng: random.Random, document: Document, *, words: Sequence[Document] = ()) -> Document:
    """Returns a copy in which one to three things were put, taken out, renamed or moved."""
    copy = deepcopy(document)
    for _ in range(rng.choice(_MOST_CHANGES)):
        holders = list(_holders(copy))
        if not holders:
            return rng.choice(_STRANGE)
        holder = rng.choice(holders)
        value = deepcopy(
            rng.choice(holders) if rng.random() < _MOVED_SHARE else _drawn(rng, words)
        )
        if isinstance(holder, dict):
            _change_mapping(rng, holder, value)
        else:
            _change_list(rng, holder, value)
    return copy


def as_json(rng: random.Random, document: Document) -> bytes:
    """Writes JSON; numbers may be such as JSON does not know."""
    try:
        return json.dumps(document, ensure_ascii=rng.random() < _HALF).encode("utf-8", "replace")
    except (ValueError, RecursionError):  # a number with too many digits, or a circle
        return json.dumps(str(type(document))).encode()


def as_yaml(rng: random.Random, document: Document) -> bytes:
    """Writes YAML, in blocks or in braces."""
    try:
        text: str = yaml.dump(
            document,
            Dumper=_Dumper,
            sort_keys=False,
            default_flow_style=rng.random() < _HALF,
        )
    except (ValueError, RecursionError, TypeError):
        return as_json(rng, document)
    return text.encode("utf-8", "surrogatepass")


def crafted(
    documents: Sequence[Document],
    write: Callable[[random.Random, Document], bytes],
    *,
    words: Sequence[Document] = (),
) -> Callable[[random.Random], bytes]:
    """Returns a maker of changed documents, for `Target.craft`."""

    def craft(rng: random.Random) -> bytes:
        return write(rng, changed(rng, rng.choice(documents), words=words))

    return craft


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: object) -> bool:
        return True


def _drawn(rng: random.Random, words: Sequence[Document]) -> Document:
    return rng.choice(words) if words and rng.random() < _HALF else rng.choice(_STRANGE)


def _holders(document: Document) -> "list[Document]":
    if isinstance(document, dict):
        inner = list(document.values())
    elif isinstance(document, list):
        inner = document
    else:
        return []
    return [document, *(holder for value in inner for holder in _holders(value))]


def _change_mapping(rng: random.Random, mapping: dict[Any, Document], value: Document) -> None:
    names = list(mapping)
    name = rng.choice(names) if names else "x"
    match rng.randrange(5):
        case 0:
            mapping.pop(name, None)
        case 1:
            mapping[value if isinstance(value, str | int) else "unknown"] = mapping.get(name)
        case 2:
            mapping["renamed"] = mapping.pop(name, value)
        case _:
            mapping[name] = value


def _change_list(rng: random.Random, values: list[Document], value: Document) -> None:
    at = rng.randint(0, len(values))
    match rng.randrange(4):
        case 0:
            del values[at:]
        case 1:
            values.insert(at, deepcopy(rng.choice(values)) if values else value)
        case 2:
            values.insert(at, value)
        case _:
            values[at : at + 1] = [value]
