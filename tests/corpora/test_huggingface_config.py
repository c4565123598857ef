from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from sllm_data.corpora.config import CorpusConfig, HuggingFaceConfig
from sllm_data.corpora.huggingface_config import HuggingFaceColumns
from sllm_data.documents import identity_of

CORPUS: TypeAdapter[HuggingFaceConfig] = TypeAdapter(CorpusConfig)


def config(path: str, **fields: object) -> HuggingFaceConfig:
    return CORPUS.validate_python({"kind": "huggingface", "path": path, **fields})


@pytest.mark.parametrize("path", ["someone/talks", "talks", "a-b/c.d_e"])
def test_an_id_of_the_hub_survives_as_it_is(path: str) -> None:
    assert config(path).hub_id == config(path).where == path


@pytest.mark.parametrize(
    "path", ["/data/talks", "./talks", "~/talks", "a/b/c", "a//b", "../talks"]
)
def test_other_paths_are_folders(path: str) -> None:
    assert config(path).hub_id is None
    assert Path(config(path).where).is_absolute()


def test_a_folder_that_is_there_is_no_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "someone" / "talks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert config("someone/talks").hub_id is None
    assert config("someone/talks").where == str(tmp_path / "someone" / "talks")


def test_a_folder_may_move_and_a_dataset_of_the_hub_may_not_change() -> None:
    assert identity_of(config("/old/talks")) == identity_of(config("/new/talks"))
    assert identity_of(config("one/talks")) != identity_of(config("two/talks"))


def test_how_it_is_read_may_change() -> None:
    assert identity_of(config("a/b")) == identity_of(config("a/b", streaming=True))


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        ({"path": "/data/talks"}, "huggingface/local"),
        ({"path": "/data/talks", "name": "talks", "version": "2"}, "talks/2"),
        ({"path": "someone/talks"}, "someone--talks/main"),
        ({"path": "someone/talks", "revision": "v1.0"}, "someone--talks/v1.0"),
        ({"path": "someone/talks", "revision": "refs/pr/1"}, "someone--talks/refs-pr-1"),
    ],
)
def test_ids_begin_with_what_the_dataset_is(fields: dict[str, str], prefix: str) -> None:
    found = config(**fields)
    assert f"{found.corpus}/{found.audio_version}" == prefix


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"revision": "main"}, "revision must not be given for a folder"),
        ({"language": "English, British"}, "pattern"),
        ({"columns": {"transcript": []}}, "at least 1"),
        ({"columns": {"speaker": [False]}}, "put it in quotes"),
        ({"columns": {"sound": "audio"}}, "Extra inputs"),
        ({"trust_remote_code": True}, "Extra inputs"),
    ],
)
def test_impossible_values_are_refused_with_the_rule(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        config("/data/talks", **fields)


@pytest.mark.parametrize("model", [HuggingFaceConfig, HuggingFaceColumns])
def test_only_where_and_how_it_is_read_may_change(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict)
        expected = "operational" if name in ("path", "streaming") else "identity"
        assert field.json_schema_extra["change"] == expected


@pytest.mark.parametrize("model", [HuggingFaceConfig, HuggingFaceColumns])
def test_every_field_stands_in_the_tables_of_the_documentation(model: type[BaseModel]) -> None:
    documentation = Path(__file__).parents[2] / "docs" / "corpora.md"
    rows = [line for line in documentation.read_text().splitlines() if line.startswith("| `")]
    for name, field in model.model_fields.items():
        described = [row for row in rows if f" {field.description} " in row]
        assert [row for row in described if row.startswith(f"| `{name}` ")], name
