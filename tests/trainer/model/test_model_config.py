import pytest
from pydantic import ValidationError

from sllm_data.trainer.model.config import ConnectorConfig, EncoderConfig, ModelConfig


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "mlp", "hidden_size": 7}, "hidden_size of an mlp must be even, got 7"),
        ({"hidden_size": 10, "heads": 4}, "must be a multiple of heads, got 10 and 4"),
        ({"taps": [3]}, "taps must be left out for window_qformer"),
        ({"kind": "layer_mix_qformer", "taps": [3, 2]}, "must be ascending numbers from 1"),
        ({"kind": "layer_mix_qformer", "taps": [0, 2]}, "must be ascending numbers from 1"),
        ({"window": 3}, "Extra inputs are not permitted"),
    ],
)
def test_a_connector_that_can_not_be_is_refused(fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        ConnectorConfig.model_validate(fields)


def test_the_encoder_is_frozen_and_hears_clips_at_their_length_unless_asked():
    encoder = EncoderConfig(model="whisper")
    assert (encoder.mode, encoder.pad_to_30s) == ("frozen", False)


def test_every_field_says_what_it_is():
    def descriptions(schema):
        for place in (schema, *schema.get("$defs", {}).values()):
            for name, field in place.get("properties", {}).items():
                yield name, field.get("description")

    missing = [name for name, text in descriptions(ModelConfig.model_json_schema()) if not text]
    assert not missing
