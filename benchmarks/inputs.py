"""A dataset as it stands before `plan`, made from transcripts without a corpus."""

from collections.abc import Sequence

import sllm_data
from sllm_data.config import RunConfig
from sllm_data.shards import (
    TABLES,
    Manifest,
    PartRecord,
    part_name,
    write_manifest,
    write_part,
)
from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.identities import identities
from sllm_data.steps.planner import Asked


def dataset_before_plan(config: RunConfig, parts: Sequence[Sequence[Asked]]) -> Dataset:
    """Starts a dataset and writes what `plan` reads: audio/, index/ and their manifests.

    Clips are empty: `plan` reads their transcripts alone.
    """
    dataset = open_dataset(config)
    identity = identities(dataset.extensions)
    records: dict[str, list[PartRecord]] = {"ingest": [], "index": []}
    for number, part in enumerate(parts):
        for step, table, rows in (
            ("ingest", "audio", map(_audio_row, part)),
            ("index", "index", map(_index_row, part)),
        ):
            record = write_part(
                config.output,
                f"{table}/{part_name(number)}",
                rows,
                table=TABLES[table],
                identity=identity[step],
            )
            records[step].append(record)
    for step, written in records.items():
        manifest = Manifest(
            step=step,
            identity=identity[step],
            inputs={},
            parts=tuple(written),
            counts={},
            code_version=sllm_data.__version__,
            extra={str(number): str(number) for number in range(len(parts))},
        )
        write_manifest(dataset.manifest_path(step), manifest)
    return dataset


def _audio_row(asked: Asked) -> dict[str, object]:
    speaker = dict.fromkeys(("id", "gender", "age", "accent", "emotion"))
    source = dict.fromkeys(("corpus", "version", "licence", "attribution"), "")
    return {
        "audio_id": asked.audio_id,
        "audio": {"bytes": b"", "path": ""},
        **dict.fromkeys(("sha256", "pcm_sha256", "codec"), ""),
        **dict.fromkeys(("sampling_rate", "num_channels", "num_samples", "entry"), 1),
        "duration_s": 1.0,
        "transcript": asked.prepared,
        "language": asked.language,
        "speaker": speaker,
        "source": source,
        "extra": "{}",
    }


def _index_row(asked: Asked) -> dict[str, object]:
    return {
        "audio_id": asked.audio_id,
        "audio_part": asked.audio_part,
        "kept": True,
        "split": asked.split,
        "tasks": asked.tasks,
    }
