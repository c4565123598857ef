"""Arrow types as Hugging Face features, so that `datasets` plays the audio column.

`datasets` reads the features from the Parquet footer's `huggingface` entry, the hub those in a
card. Writing both ourselves keeps the `datasets` library out of the stages that write them.
"""

import json
from typing import Any

import pyarrow as pa

Feature = dict[str, Any]  # Any: the JSON that datasets defines, nested to any depth

_AUDIO: Feature = {"_type": "Audio"}


def feature_of(kind: pa.DataType) -> Feature:
    """Returns the feature of an Arrow type as `datasets.Features.to_dict` words it."""
    if pa.types.is_struct(kind):
        return {field.name: feature_of(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": feature_of(kind.value_type), "_type": "List"}
    name = {"double": "float64", "float": "float32"}.get(str(kind), str(kind))
    return {"dtype": name, "_type": "Value"}


def features_of(schema: pa.Schema) -> Feature:
    """Returns the features of a table: a column `audio` is an Audio, `audios` a list of them."""
    sounds = {"audio": _AUDIO, "audios": {"feature": _AUDIO, "_type": "List"}}
    return {field.name: sounds.get(field.name) or feature_of(field.type) for field in schema}


def card_features(schema: pa.Schema) -> list[Feature]:
    """Returns the features of a table as `dataset_info` in the front matter of a card has them."""
    return _named(features_of(schema))


def _named(fields: Feature) -> list[Feature]:
    return [{"name": name} | _in_card(feature) for name, feature in fields.items()]


def _in_card(feature: Feature) -> Feature:
    match feature.get("_type"):
        case "List":
            inner = _in_card(feature["feature"])
            return {"list": inner.get("dtype") or inner.get("struct") or inner}
        case "Audio":
            return {"dtype": "audio"}
        case "Value":
            return {"dtype": feature["dtype"]}
        case _:
            return {"struct": _named(feature)}


def footer_entry(schema: pa.Schema) -> str:
    """Returns the JSON for the `huggingface` key of a Parquet footer."""
    return json.dumps({"info": {"features": features_of(schema)}}, sort_keys=True)
