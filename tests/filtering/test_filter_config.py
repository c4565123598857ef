import pytest
from pydantic import ValidationError

from sllm_data.filtering.config import FilterConfig


def test_every_field_is_described_and_identity():
    for name, field in FilterConfig.model_fields.items():
        assert field.description, name
        assert field.json_schema_extra == {"change": "identity"}, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"truncated": "maybe"},
        {"judge_keep": 6},
        {"copy_max_rate": 0},
        {"copy_max_rate_by_task": {"keywords": 1.5}},
        {"languages": ["en"]},
        {"languages": ["en", "en-US"]},
        {"languages": ["en", "klingon"]},
        {"unknown": 1},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        FilterConfig.model_validate(wrong)


def test_a_chosen_set_of_languages_is_taken():
    chosen = FilterConfig(languages=("en", "sv-SE"), copy_max_rate_by_task={})
    assert chosen.languages == ("en", "sv-SE")
