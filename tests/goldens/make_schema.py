"""Writes schema.json, the golden of the tables: run it after a wanted change of the schema.

    .venv/bin/python -m tests.goldens.make_schema

A change that tests/shards/test_schema.py finds here needs a new SCHEMA_VERSION, unless it
only adds a nullable column, and always a line in the schema's HISTORY.
"""

import json
from pathlib import Path

from sllm_data.shards import SCHEMA_VERSION, TABLES
from sllm_data.shards.features import footer_entry
from sllm_data.shards.schema import HISTORY, as_json

FILE = Path(__file__).parent / "schema.json"


def golden() -> str:
    """Returns the content of the golden file."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "history": {str(version): line for version, line in HISTORY.items()},
        "tables": {
            name: as_json(table) | {"huggingface": json.loads(footer_entry(table.arrow))}
            for name, table in TABLES.items()
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    FILE.write_text(golden(), encoding="utf-8")


if __name__ == "__main__":
    main()
