# ruff: noqa: INP001 - a script
"""Writes docs/configuration.md and docs/run.schema.json from RunConfig.

    .venv/bin/python -m docs.make_configuration

tests/test_config_docs.py fails where the files are not what this makes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sllm_data.config import document_schema

FOLDER = Path(__file__).parent

Node = dict[str, Any]  # Any: a JSON Schema, nested to any depth

_INTRODUCTION = """# Configuration

All that `run.yaml` may say. Written by `docs/make_configuration.py`; `run.schema.json` says
the same to editors:

```yaml
# yaml-language-server: $schema=docs/run.schema.json
seed: 1
output: out/my-corpus
corpora:
  - {kind: librispeech, path: data/LibriSpeech, subsets: [train-clean-100]}
recipe: self_powered
backbone: {engine: vllm, model: Qwen/Qwen2.5-7B-Instruct}
```

Three layers are merged, the later wins: the recipe (`sllm_data/recipes/<name>.yaml`), your
`run.yaml`, then `--set name=value`, in which dots go down a level and numbers are positions
in a list: `--set draw.mode=quota --set corpora.0.limit=100`. Mappings are merged key by key,
so `tasks: {summary: {weight: 1}}` changes one weight and leaves the rest to the recipe;
lists, `prompts.templates` and `prompts.instruction_languages` are replaced as a whole. An
unknown key is refused.

The kind of a field says what a change means for a dataset that exists:

- **identity**: rows depend on it; refused, with what differs
- **operational**: where and how fast; free to change
- **additive**: may grow with `--extend`; refused otherwise
"""


def documents() -> dict[str, str]:
    """Returns the content of each file by its name."""
    schema = document_schema()
    return {
        "configuration.md": "\n".join([_INTRODUCTION, *_sections(schema)]),
        "run.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
    }


def _sections(schema: Node) -> Iterator[str]:
    waiting: list[tuple[str, Node]] = [("run.yaml", schema)]
    while waiting:
        title, model = waiting.pop(0)
        yield f"## {title}\n"
        yield f"{model['description']}\n"
        yield "| name | type | default | kind | meaning |"
        yield "|---|---|---|---|---|"
        prefix = "" if title == "run.yaml" else f"{title.split(' ')[0]}."
        for name, field in model["properties"].items():
            required = name in model.get("required", ())
            yield _line(schema, name, field, required=required)
            waiting += _nested(schema, f"{prefix}{name}", field)
        yield ""


def _line(schema: Node, name: str, field: Node, *, required: bool) -> str:
    cells = (
        f"`{name}`",
        _type(schema, field),
        "required" if required else _default(field),
        field.get("change", "identity" if "const" in field else "see there"),
        field.get("description", ""),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: Node) -> str:
    if "$ref" in field or "discriminator" in field:
        return ""
    if "default" not in field:
        return "of the recipe"
    value = field["default"]
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _nested(schema: Node, name: str, field: Node) -> list[tuple[str, Node]]:
    """The models that a field leads to, each with the title of its section."""
    if "$ref" in field:
        return [(name, _resolved(schema, field))]
    if "discriminator" in field:
        tag = field["discriminator"]["propertyName"]
        return [
            (f"{name} with {tag}: {value}", _resolved(schema, {"$ref": target}))
            for value, target in field["discriminator"]["mapping"].items()
        ]
    if "items" in field:
        return _nested(schema, f"{name}[]", field["items"])
    if isinstance(field.get("additionalProperties"), dict):
        return _nested(schema, f"{name}.NAME", field["additionalProperties"])
    return []


def _resolved(schema: Node, field: Node) -> Node:
    model: Node = schema["$defs"][field["$ref"].rpartition("/")[2]]
    return model


def _type(schema: Node, field: Node) -> str:
    match field:
        case {"$ref": _} | {"discriminator": _}:
            return "mapping, below"
        case {"const": value}:
            return f"`{value}`"
        case {"enum": values}:
            return " or ".join(f"`{value}`" for value in values)
        case {"anyOf": kinds}:
            return " or ".join(dict.fromkeys(_type(schema, kind) for kind in kinds))
        case _:
            return _plain_type(schema, field)


def _plain_type(schema: Node, field: Node) -> str:
    match field:
        case {"type": "array", "items": inner}:
            return f"list of {_type(schema, inner)}"
        case {"type": "object", "additionalProperties": {"type": _} | {"$ref": _} as inner}:
            return f"names to {_type(schema, inner)}"
        case {"type": "object"}:
            return "mapping"
        case _:
            words = {"null": "none", "string": "path" if "format" in field else "text"}
            return words.get(field["type"], field["type"]) + _bounds(field)


def _bounds(field: Node) -> str:
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    found = [f"{sign} {field[name]:,}" for name, sign in signs.items() if name in field]
    return " " + ", ".join(found) if found else ""


def main() -> None:
    """Writes both files."""
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
