"""The README.md and schema.json of a dataset: how to load it, and what its columns mean."""

import json
from typing import Any

import yaml

from sllm_data.corpora.config import CommonVoiceConfig, CorpusConfig, LibriSpeechConfig
from sllm_data.files import write_text
from sllm_data.shards import SCHEMA_VERSION, TABLES
from sllm_data.shards.schema import HISTORY, as_json
from sllm_data.steps.dataset import Dataset

_LOADABLE = ("samples", "audio", "index", "alignments", "requests", "responses", "rejections")

_TEXT = """
# {name}

Training data for speech LLMs, made with sllm-data from {corpora} by the recipe
`{recipe}`: the backbone `{model}` answered instructions about the transcripts, a speech
model is trained to give the same answers to the audio.

{rows:,} samples over {clips:,} clips. The column `split` says train, validation or test, and
`eval_group` which rows test unseen wordings or tasks; train on the rows in which both say
train.

```python
from datasets import load_dataset

samples = load_dataset(".", "samples", split="train")
audio = load_dataset(".", "audio", split="train")
```

`samples.audio_refs` names clips by (`audio_part`, `audio_id`). Every column is explained in
`schema.json`, the configuration stands in `run.yaml`, digests of all files in `manifest/`,
and every row that was dropped, with its reason, in `rejections/`.

Licences of the sources: {licences}.
"""


def write_card(dataset: Dataset) -> None:
    """Writes README.md and schema.json of a finished dataset."""
    samples = dataset.finished("assemble")
    rows = sum(part.rows for part in samples.parts if part.file.startswith("samples/"))
    clips = sum(
        part.rows for part in dataset.finished("ingest").parts if part.file.startswith("audio/")
    )
    licences = dict.fromkeys(_licence(corpus) for corpus in dataset.config.corpora)
    front: dict[str, Any] = {  # Any: YAML values
        "configs": [
            {"config_name": table, "data_files": _files(table)}
            for table in _LOADABLE
            if table != "alignments" or dataset.manifest("align")
        ],
        "tags": ["speech", "instruction-tuning", "sllm-data"],
    }
    front["configs"][0]["default"] = True
    body = _TEXT.format(
        name=dataset.root.resolve().name,
        corpora=", ".join(dict.fromkeys(corpus.kind for corpus in dataset.config.corpora)),
        recipe=dataset.config.recipe_name,
        model=dataset.finished("plan.main").extra["model"] or dataset.config.backbone.engine,
        rows=rows,
        clips=clips,
        licences=", ".join(licences),
    )
    write_text(
        dataset.root / "README.md", f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{body}"
    )
    schema = {
        "schema_version": SCHEMA_VERSION,
        "history": {str(version): line for version, line in HISTORY.items()},
        "tables": {name: as_json(table) for name, table in TABLES.items()},
    }
    write_text(dataset.root / "schema.json", json.dumps(schema, indent=1) + "\n")


def _files(table: str) -> str:
    match table:
        case "requests" | "responses":
            return f"{table}/main/*.parquet"
        case "rejections":
            return "rejections/*/*.parquet"
        case _:
            return f"{table}/*.parquet"


def _licence(corpus: CorpusConfig) -> str:
    if isinstance(corpus, LibriSpeechConfig | CommonVoiceConfig):
        return corpus.licence
    return "see the rows"
