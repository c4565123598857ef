"""Arrow types as Hugging Face features, so that `datasets` plays the audio column.

`datasets` reads the features from the Parquet footer's `huggingface` entry. Writing that
entry ourselves keeps the `datasets` library out of the stages that only write Parquet.
"""

import json
from typing import Any

import pyarrow as pa

Feature = dict[str, Any]  # Any: the JSON that datasets defines, nested to any depth


def feature_of(kind: pa.DataType) -> Feature:
    """Returns the feature of an Arrow type as `datasets.Features.to_dict` words it."""
    if pa.types.is_struct(kind):
        return {field.name: feature_of(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": feature_of(kind.value_type), "_type": "List"}
    name = {"double": "float64", "float": "float32"}.get(str(kind), str(kind))
    return {"dtype": name, "_type": "Value"}


def features_of(schema: pa.Schema) -> Feature:
    """Returns the features of a table; a struct column named `audio` is an Audio."""
    return {
        field.name: {"_type": "Audio"} if field.name == "audio" else feature_of(field.type)
        for field in schema
    }


def footer_entry(schema: pa.Schema) -> str:
    """Returns the JSON for the `huggingface` key of a Parquet footer."""
    return json.dumps({"info": {"features": features_of(schema)}}, sort_keys=True)
