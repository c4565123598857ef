"""What each step's rows depend on, as one hash per step; each includes its upstream."""

from collections.abc import Sequence
from typing import Any

from sllm_data.documents import identity_hash
from sllm_data.shards import SCHEMA_VERSION

Document = dict[str, Any]  # Any: plain YAML values

_OF_STEP = {
    "candidates": ("seed", "part_size", "corpora", "speaker_salt"),
    "ingest": ("audio",),
    "index": ("splits", "tasks", "draw"),
    "plan": ("recipe", "kind", "prompts", "backbone", "followup"),
    "generate": (),
    "assemble": ("filters", "interleave"),
}

_ASIDE = {"align": ("index", ("alignment",))}
"""Steps beside the line: the step that each comes after, and its fields. Rows depend on one only
where clips are cut, which adds its identity to that of `assemble`."""

_FIRST = next(iter(_OF_STEP))


def step_of_field(field: str) -> str:
    """Returns the first step whose rows depend on a field of the configuration.

    A field that is not known is one that another version knew: all steps may depend on it.

    >>> step_of_field("filters")
    'assemble'
    """
    fields_of = _OF_STEP | {step: fields for step, (_, fields) in _ASIDE.items()}
    return next((step for step, fields in fields_of.items() if field in fields), _FIRST)


def identities(extensions: Sequence[Document]) -> dict[str, str]:
    """Returns the identity of each step for the last of a dataset's extensions."""
    document = extensions[-1]
    found: dict[str, str] = {}
    upstream = f"schema {SCHEMA_VERSION}, extension {len(extensions) - 1}"
    for step, fields in _OF_STEP.items():
        upstream = identity_hash(upstream, step, {name: document[name] for name in fields})
        found[step] = upstream
    for step, (after, fields) in _ASIDE.items():
        own = {name: document[name] for name in fields}
        found[step] = identity_hash(found[after], step, own)
    if document["interleave"]["chance"] > 0 or any(
        task["supervision"] != "answer" for task in document["tasks"].values()
    ):
        found["assemble"] = identity_hash(found["assemble"], found["align"])
    return found
