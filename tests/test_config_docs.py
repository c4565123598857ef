"""docs/configuration.md and docs/run.schema.json are made from RunConfig, and hold."""

import json
import re

import jsonschema
import pytest
import yaml

from docs import make_configuration
from sllm_data.config import document_schema, recipe_names, resolve
from sllm_data.files import shipped_folder


@pytest.mark.parametrize("name", make_configuration.documents())
def test_the_file_says_what_the_code_says(name):
    path = make_configuration.FOLDER / name
    assert path.read_text(encoding="utf-8") == make_configuration.documents()[name]


def test_every_field_is_explained_and_has_its_kind():
    text = make_configuration.documents()["configuration.md"]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 80
    for row in rows:
        assert len(row) == 5
        assert row[3] in ("identity", "operational", "additive", "see there")
        assert row[4].removesuffix(" |").strip()


def _example() -> dict[str, object]:
    text = make_configuration.documents()["configuration.md"]
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    document: dict[str, object] = yaml.safe_load(found[1])
    return document


def test_the_example_of_the_docs_is_accepted_by_the_schema_and_by_the_code():
    jsonschema.validate(_example(), document_schema())
    assert resolve(_example(), where="docs").seed == 1


def test_the_schema_finds_a_misspelt_key():
    with pytest.raises(jsonschema.ValidationError, match="corpsu"):
        jsonschema.validate(_example() | {"corpsu": 1}, document_schema())


def test_the_schema_itself_is_sound():
    jsonschema.Draft202012Validator.check_schema(document_schema())


def test_what_a_recipe_leaves_out_is_what_the_schema_requires():
    for name in recipe_names():
        recipe = yaml.safe_load((shipped_folder("recipes") / f"{name}.yaml").read_text())
        assert not set(document_schema()["required"]) - {"backbone"} & recipe.keys()
    assert json.loads(make_configuration.documents()["run.schema.json"]) == document_schema()
