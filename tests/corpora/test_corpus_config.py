from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from sllm_data.corpora.config import Bounds, CommonVoiceConfig, CorpusConfig, LibriSpeechConfig

CORPUS: TypeAdapter[LibriSpeechConfig | CommonVoiceConfig] = TypeAdapter(CorpusConfig)


def common_voice(**fields: object) -> CommonVoiceConfig:
    config = CORPUS.validate_python({"kind": "common_voice", "path": "cv", **fields})
    assert isinstance(config, CommonVoiceConfig)
    return config


def test_the_kind_chooses_the_fields() -> None:
    config = CORPUS.validate_python(
        {"kind": "librispeech", "path": "data", "subsets": ["dev-clean"]}
    )
    assert config == LibriSpeechConfig(
        kind="librispeech", path=Path("data"), subsets=("dev-clean",)
    )


def test_fields_of_another_kind_are_refused() -> None:
    with pytest.raises(ValidationError, match="min_up_votes"):
        CORPUS.validate_python({"kind": "librispeech", "path": "data", "min_up_votes": 2})


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="'librispeech', 'common_voice'"):
        CORPUS.validate_python({"kind": "timit", "path": "data"})


def test_one_name_may_stand_without_a_list() -> None:
    assert common_voice(tsv="train", locales="de").tsv == ("train",)
    assert common_voice(tsv=["train", "dev"]).tsv == ("train", "dev")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"locales": [False]}, "put it in quotes"),
        ({"version": 17.0}, "put it in quotes"),
        ({"locales": ["../de"]}, "without slashes"),
        ({"name": "a/b"}, "without slashes"),
        ({"locales": ["de", "de"]}, "name each one once"),
        ({"tsv": []}, "at least 1"),
        ({"tsv": ["valid"]}, "'validated'"),
        ({"weight": 0}, "greater than 0"),
        ({"limit": 0}, "greater than 0"),
        ({"sample": 1.5}, "less than or equal to 1"),
        ({"sample": float("nan")}, "finite"),
        ({"min_duration_s": 5, "max_duration_s": 4}, "at most max_duration_s, got 5 and 4"),
        ({"split": "speaker"}, "'hash'"),
    ],
)
def test_impossible_values_are_refused_with_the_rule(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        common_voice(**fields)


def test_bounds_of_an_entry_take_the_place_of_the_runs() -> None:
    bounds = Bounds(min_duration_s=1, max_duration_s=10)
    own = bounds.for_entry(common_voice(max_duration_s=60))
    assert (own.min_duration_s, own.max_duration_s) == (1, 60)


def test_bounds_of_an_entry_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at most max_duration_s, got 50 and 40"):
        Bounds().for_entry(common_voice(min_duration_s=50))


@pytest.mark.parametrize("model", [Bounds, LibriSpeechConfig, CommonVoiceConfig])
def test_every_field_says_what_it_does_and_whether_it_may_change(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict)
        expected = "operational" if name == "path" else "identity"
        assert field.json_schema_extra["change"] == expected


def test_every_field_stands_in_the_tables_of_the_documentation() -> None:
    documentation = Path(__file__).parents[2] / "docs" / "corpora.md"
    rows = [line for line in documentation.read_text().splitlines() if line.startswith("| `")]
    for model in (Bounds, LibriSpeechConfig, CommonVoiceConfig):
        for name, field in model.model_fields.items():
            described = [row for row in rows if f" {field.description} " in row]
            assert [row for row in described if row.startswith(f"| `{name}` ")], name


def test_the_json_schema_allows_one_name_or_a_list() -> None:
    tsv = CommonVoiceConfig.model_json_schema()["properties"]["tsv"]
    assert {option["type"] for option in tsv["anyOf"]} == {"string", "array"}
