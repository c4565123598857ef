"""What a dataset says of itself: README.md, schema.json, croissant.json, ATTRIBUTION."""

import json
from collections.abc import Mapping, Sequence

import yaml

from sllm_data.documents import Document
from sllm_data.exporting.card import cell
from sllm_data.files import write_text
from sllm_data.shards import SCHEMA_VERSION, TABLES, Manifest, PartRecord
from sllm_data.shards.features import card_features
from sllm_data.shards.schema import HISTORY, as_json
from sllm_data.steps.croissant import LIMITS, croissant
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.sources import (
    OTHER,
    Languages,
    attribution_text,
    languages_in,
    most_restrictive,
    sources_in,
)

_LOADABLE = ("samples", "audio", "index", "alignments", "requests", "responses", "rejections")

_LISTED = ("samples", "audio", "alignments")
"""Tables whose files are listed in croissant.json."""

_TEXT = """
# {name}

Training data for speech LLMs, made with sllm-data from {corpora} by the recipe
`{recipe}`: the backbone `{model}` answered instructions about the transcripts, a speech
model is trained to give the same answers to the audio.

{rows:,} samples over {clips:,} clips, {hours:.2f} hours of which are heard. The column `split`
says train, validation or test, and `eval_group` which rows test unseen wordings or tasks; train on
the rows in which both say train.

```python
from datasets import load_dataset

samples = load_dataset(".", "samples", split="train")
audio = load_dataset(".", "audio", split="train")
```

`samples.audio_refs` names clips by (`audio_part`, `audio_id`). Every column is explained in
`schema.json`, the configuration stands in `run.yaml`, and every row that was dropped, with its
reason, in `rejections/`. The digest of every part stands in `manifest/`, those of samples, audio
and alignments in `croissant.json`, too.

## What is in it

| split | samples |
|---|---:|
{splits}

| task | samples |
|---|---:|
{tasks}

## Sources and licences

| corpus | version | licence | samples | hours |
|---|---|---|---:|---:|
{sources}

Who is to be named stands in `ATTRIBUTION`. Over all sources the most restrictive licence is
{licence}. The answers are those of `{model}`, whose own terms may bind what is trained on them.

## Limits

{limits}
"""


def write_card(dataset: Dataset) -> None:
    """Writes what a finished dataset says of itself.

    README.md (a card of the Hugging Face hub), schema.json, croissant.json and ATTRIBUTION.
    """
    samples = dataset.finished("assemble")
    clips = sum(
        part.rows for part in dataset.finished("ingest").parts if part.file.startswith("audio/")
    )
    model = dataset.finished("plan.main").extra["model"] or dataset.config.backbone.engine
    sources = sources_in(dataset.root, dataset.work / "spill")
    languages = languages_in(dataset.root, dataset.work / "spill")
    licence = most_restrictive(each.licence for each in sources)
    name = dataset.root.resolve().name
    body = _TEXT.format(
        name=name,
        corpora=", ".join(dict.fromkeys(corpus.kind for corpus in dataset.config.corpora)),
        recipe=dataset.config.recipe_name,
        model=model,
        rows=_rows(samples),
        clips=clips,
        hours=sum(each.hours for each in sources),
        splits=_counted(samples.counts.get("splits", {})),
        tasks=_counted(samples.counts.get("tasks", {})),
        sources="\n".join(
            f"| {cell(each.corpus)} | {cell(each.version)} | {cell(each.licence or 'not stated')} "
            f"| {each.rows:,} "
            f"| {each.hours:.2f} |"
            for each in sources
        ),
        licence=f"`{licence}`" if licence != OTHER else "one that the hub has no name for",
        limits=LIMITS,
    )
    front = _front(dataset, _rows(samples), languages, licence)
    write_text(
        dataset.root / "README.md", f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{body}"
    )
    write_text(dataset.root / "schema.json", schema_text())
    write_text(dataset.root / "ATTRIBUTION", attribution_text(name, sources))
    document = croissant(
        name=name,
        description=f"{_rows(samples):,} instructions about speech with the answers of {model} "
        f"to its transcripts, by the recipe {dataset.config.recipe_name}.",
        version=str(SCHEMA_VERSION),
        licence=licence,
        sources=sources,
        languages=languages.spoken,
        parts=_listed(dataset),
        how_made=f"sllm-data {samples.code_version}, recipe {dataset.config.recipe_name}, seed "
        f"{dataset.config.seed}, backbone {model}; all of it stands in run.yaml.",
        filters=dataset.config.filters,
    )
    write_text(
        dataset.root / "croissant.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    )


def _rows(samples: Manifest) -> int:
    return sum(part.rows for part in samples.parts if part.file.startswith("samples/"))


def _counted(counts: Mapping[str, int]) -> str:
    return "\n".join(f"| {name} | {number:,} |" for name, number in counts.items() if number)


def _listed(dataset: Dataset) -> list[PartRecord]:
    steps = ("assemble", "ingest", "align")
    parts = [part for step in steps for part in _parts(dataset, step)]
    return sorted(
        (part for part in parts if part.file.partition("/")[0] in _LISTED),
        key=lambda part: (_LISTED.index(part.file.partition("/")[0]), part.file),
    )


def _parts(dataset: Dataset, step: str) -> Sequence[PartRecord]:
    manifest = dataset.manifest(step)
    return () if manifest is None else manifest.parts


def _front(dataset: Dataset, rows: int, languages: Languages, licence: str) -> Document:
    tables = [each for each in _LOADABLE if each != "alignments" or dataset.manifest("align")]
    front: Document = {
        "pretty_name": dataset.root.resolve().name,
        "license": licence,
        "language": sorted({each.partition("-")[0] for each in languages.spoken}),
        "annotations_creators": ["machine-generated"],
        "task_categories": ["automatic-speech-recognition", "audio-text-to-text"],
        "size_categories": [_size_category(rows)],
        "configs": [{"config_name": table, "data_files": _files(table)} for table in tables],
        "dataset_info": [
            {"config_name": table, "features": card_features(TABLES[table].arrow)}
            for table in tables
        ],
        "tags": ["speech", "instruction-tuning", "sllm-data"],
    }
    if licence == OTHER:
        front["license_name"] = "see-attribution"
        front["license_link"] = "ATTRIBUTION"
    front["configs"][0]["default"] = True
    return front


def _size_category(rows: int) -> str:
    """Returns what the hub calls a size.

    >>> _size_category(999), _size_category(1_000), _size_category(3 * 10**6)
    ('n<1K', '1K<n<10K', '1M<n<10M')
    """
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    place = sum(rows >= 10 ** (3 + step) for step in range(len(names)))
    if place == 0:
        return "n<1K"
    return f"n>{names[-1]}" if place == len(names) else f"{names[place - 1]}<n<{names[place]}"


def schema_text() -> str:
    """Returns what `schema.json` says: every table and column of this schema version."""
    schema = {
        "schema_version": SCHEMA_VERSION,
        "history": {str(version): line for version, line in HISTORY.items()},
        "tables": {name: as_json(table) for name, table in TABLES.items()},
    }
    return json.dumps(schema, indent=1) + "\n"


def _files(table: str) -> str:
    match table:
        case "requests" | "responses":
            return f"{table}/main/*.parquet"
        case "rejections":
            return "rejections/*/*.parquet"
        case _:
            return f"{table}/*.parquet"
