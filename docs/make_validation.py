# ruff: noqa: INP001 - a script
"""Writes the tables of docs/validation.md: its rules, and the fields of contract.yaml.

    .venv/bin/python -m docs.make_validation

What stands between `<!-- rules -->` or `<!-- contract -->` and the next `<!-- end -->` is
made; the rest of the page is written by hand. tests/validation/test_validation_docs.py fails
where the tables are not what the code says.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sllm_data.validation.contract import Contract
from sllm_data.validation.levels import RULES

FILE = Path(__file__).parent / "validation.md"

_LEVELS = {
    0: "Level 0: footers and manifests",
    1: "Level 1: columns",
    2: "Level 2: contents",
    3: "Level 3: across parts",
}
_FOREIGN = {"error": "yes", "warning": "warning", "off": "no"}

Node = dict[str, Any]  # Any: a JSON Schema, nested to any depth


def document() -> str:
    """Returns docs/validation.md with its tables made anew."""
    page = FILE.read_text(encoding="utf-8")
    made: dict[str, Callable[[], Iterator[str]]] = {"rules": _rules, "contract": _contract}
    for name, lines in made.items():
        table = "\n".join(lines())
        block = f"<!-- {name} -->\n{table}\n<!-- end -->"
        page = re.sub(
            rf"<!-- {name} -->\n.*?<!-- end -->", lambda _, b=block: b, page, flags=re.DOTALL
        )
    return page


def _rules() -> Iterator[str]:
    for level, title in _LEVELS.items():
        yield f"\n### {title}\n"
        yield "| rule | what holds | weight | foreign parts |"
        yield "|---|---|---|---|"
        for rule in RULES.values():
            if rule.level == level:
                foreign = _FOREIGN[rule.foreign]
                yield f"| `{rule.name}` | {rule.meaning} | {rule.weight} | {foreign} |"
    yield ""


def _contract() -> Iterator[str]:
    schema: Node = Contract.model_json_schema()
    yield "| field | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in schema["properties"].items():
        default = field.get("default")
        shown = "" if default in (None, {}, []) else f"`{default}`"
        yield f"| `{name}` | {_kind(schema, field)} | {shown} | {field['description']} |"


def _kind(schema: Node, field: Node) -> str:
    match field:
        case {"anyOf": [kind, {"type": "null"}]}:
            return _kind(schema, kind)
        case {"$ref": ref}:
            target = schema["$defs"][ref.rpartition("/")[2]]
            return "{" + ", ".join(target["properties"]) + "}"
        case {"type": "array", "items": inner}:
            return f"list of {_kind(schema, inner)}"
        case {"type": "object", "additionalProperties": inner}:
            return f"name to {_kind(schema, inner)}"
        case _:
            return _plain_kind(field)


def _plain_kind(field: Node) -> str:
    match field:
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"type": "number", "maximum": 1}:
            return "share, 0 to 1"
        case {"type": kind}:
            return "text" if kind == "string" else str(kind)
        case _:
            raise ValueError(f"a field must have a type, got {field}")


def main() -> None:
    """Writes the page."""
    FILE.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
