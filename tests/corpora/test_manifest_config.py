from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from sllm_data.config import resolve
from sllm_data.corpora.config import CorpusConfig, ManifestConfig
from sllm_data.corpora.manifest_config import ManifestColumns
from sllm_data.errors import ConfigError

CORPUS: TypeAdapter[CorpusConfig] = TypeAdapter(CorpusConfig)


def manifest(**fields: object) -> ManifestConfig:
    config = CORPUS.validate_python({"kind": "manifest", "path": "m.jsonl", **fields})
    assert isinstance(config, ManifestConfig)
    return config


def test_a_path_is_enough() -> None:
    config = manifest()
    assert config.columns.audio == ("audio_filepath",)
    assert (config.version, config.licence, config.hash_speakers) == ("1", "unknown", True)


def test_one_key_may_stand_without_a_list_and_none_leaves_a_value_out() -> None:
    columns = manifest(columns={"transcript": "sentence", "duration": []}).columns
    assert (columns.transcript, columns.duration) == (("sentence",), ())
    assert columns.offset == ("offset",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": {"txt": "sentence"}}, "columns.txt"),
        ({"columns": {"audio": []}}, "at least 1 item"),
        ({"columns": {"transcript": [1]}}, "put it in quotes"),
        ({"columns": {"id": ["a", "a"]}}, "name each one once"),
        ({"archive": "audio.tar.gz"}, "archive must end in .tar or .zip; .* uncompress it"),
        ({"language": "english language"}, "pattern"),
        ({"language": False}, "put it in quotes"),
        ({"corpus_split": "dev"}, "'validation'"),
        ({"version": 1.0}, "put it in quotes"),
        ({"manifests": ["a", "a"]}, "name each one once"),
    ],
)
def test_impossible_values_are_refused_with_the_rule(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        manifest(**fields)


def test_an_entry_can_be_a_key() -> None:
    assert len({manifest(), manifest(), manifest(columns={"id": "x"})}) == 2


@pytest.mark.parametrize("model", [ManifestConfig, ManifestColumns])
def test_only_where_things_lie_may_change(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict)
        expected = "operational" if name in ("path", "audio_root") else "identity"
        assert field.json_schema_extra["change"] == expected, name


@pytest.mark.parametrize("model", [ManifestConfig, ManifestColumns])
def test_every_field_stands_in_the_tables_of_the_documentation(model: type[BaseModel]) -> None:
    documentation = Path(__file__).parents[2] / "docs" / "corpora.md"
    rows = [line for line in documentation.read_text().splitlines() if line.startswith("| `")]
    for name, field in model.model_fields.items():
        described = [row for row in rows if f" {field.description} " in row]
        assert [row for row in described if row.startswith(f"| `{name}` ")], name


def run(*entries: dict[str, object]) -> object:
    corpora = [{"kind": "manifest", "language": "en"} | entry for entry in entries]
    document = {"seed": 1, "output": "out", "backbone": {"engine": "scripted"}, "corpora": corpora}
    return resolve(document, where="run.yaml")


def test_paths_below_two_folders_need_two_names() -> None:
    one, two = {"path": "a/m.jsonl"}, {"path": "b/m.jsonl"}
    with pytest.raises(ConfigError, match=r"entry 1 must have a name of its own: .* manifest/1"):
        run(one, two)
    assert run(one, two | {"name": "second"})
    assert run(one, two | {"version": "2"})
    assert run(one, {"path": "b/m.jsonl", "audio_root": "a"})
    assert run(one, {"path": "a", "manifests": ["n.jsonl"]})
