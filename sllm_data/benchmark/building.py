"""Freezes the rows of a benchmark: questions, speech, references, scoring, digests."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

import sllm_data
from sllm_data.benchmark.frozen import (
    AUDIO,
    DOCUMENT,
    QUESTIONS,
    SAMPLES,
    TEXT_QUESTIONS,
    VERSION,
    Description,
    Made,
)
from sllm_data.benchmark.selecting import Candidate, Selection, Wanted, select
from sllm_data.benchmark.training_rows import Row, speakers_of
from sllm_data.errors import ShardError
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.tables import EVAL_GROUPS
from sllm_data.exporting.card import cell
from sllm_data.exporting.clips import extension
from sllm_data.files import check_is_apart, new_folder, sha256_of_file, write_text
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.steps import Progress
from sllm_data.steps.card import schema_text
from sllm_data.steps.sources import SourceFacts, attribution_text, sources_in
from sllm_data.trainer.data.config import DatasetEntry
from sllm_data.trainer.data.reading import Dataset

_CARD = """
# {name}

A benchmark for speech LLMs, frozen with sllm-data: does a model that is asked by speech do what
it is asked, as well as the text LLM that reads the transcript?

{rows:,} questions about {clips:,} clips ({hours:.2f} hours, {speakers:,} speakers). No training
row of {sources} has a clip, a speaker or a transcript of them.

| group | tasks | questions |
|---|---|---|
{groups}

`questions.jsonl` holds what is asked, `clips/` the speech. Answer each line, write
`{{"sample_id": ..., "prediction": ...}}` for each, one JSON object a line, and score it:

```
sllm-data benchmark score predictions.jsonl --benchmark .
```

`questions.text.jsonl` asks the same by text; answers to it have `"side": "text"` in the same
file. References are the answers of {backbones} to the transcripts.

| corpus | version | licence | questions | hours |
|---|---|---|---:|---:|
{corpora}

The licences of the sources hold for this copy; who is to be named stands in `ATTRIBUTION`.
"""


@dataclass(frozen=True, slots=True)
class _Clip:
    """Where a clip stands in the benchmark."""

    file: str
    num_samples: int
    rate_hz: int


def build_benchmark(
    root: Path,
    output: Path,
    *,
    wanted: Wanted,
    scoring: EvaluationConfig,
    against: Sequence[Path] = (),
    progress: Progress,
) -> Description:
    """Freezes rows of a dataset as a benchmark.

    Args:
        root: A finished dataset.
        output: The folder; must not exist or be empty, and is whole or absent.
        wanted: How many rows of which tasks.
        scoring: How answers are scored; what it says of the tasks is frozen.
        against: Further datasets that are trained on: what they have is left out.
        progress: Where to show a bar.

    Raises:
        ShardError: A dataset can't be used.
        RejectedError: It is too small for the groups.
        OutputError: The folder is there already, lies in a dataset, or can't be written.
    """
    for each in (root, *against):
        check_is_apart(output, each)
    made = [_made(each) for each in (root, *against)]
    selection = select(root, against, wanted)
    with new_folder(output) as folder, progress.bar("freeze", len(selection.chosen)) as bar:
        numbers = _numbers(selection.chosen)
        clips = _write_audio(root, folder, numbers)
        rows = list(_rows(root, selection.chosen))
        write_part(folder, SAMPLES, map(_in_one_part, rows), table=TABLES["samples"], identity="")
        asked = [_question(row, clips) for row in rows]
        write_text(folder / QUESTIONS, _lines(asked))
        write_text(folder / TEXT_QUESTIONS, _lines(map(_text_question, rows)))
        write_text(folder / "schema.json", schema_text())
        description = _described(
            name=output.resolve().name,
            made=made,
            selection=selection,
            rows=rows,
            clips=clips,
            split=wanted.split,
            scoring=scoring,
        )
        sources = _sources(folder)
        write_text(folder / "README.md", _card(description, sources))
        write_text(folder / "ATTRIBUTION", attribution_text(description.name, sources))
        description = description.model_copy(update={"files": _digests(folder)})
        text = json.dumps(description.model_dump(mode="json"), indent=1, ensure_ascii=False)
        write_text(folder / DOCUMENT, f"{text}\n")
        bar.advance(len(rows), "")
    return description


def _made(root: Path) -> Made:
    return Made(name=root.resolve().name, digest=Dataset(DatasetEntry(path=root)).digest)


def _numbers(chosen: Sequence[Candidate]) -> dict[int, dict[str, int]]:
    """Numbers the clips in the order of the dataset: by part and audio_id."""
    refs = sorted({(each.audio_part, each.audio_id) for each in chosen})
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for number, (part, audio_id) in enumerate(refs):
        found[part][audio_id] = number
    return found


def _write_audio(
    root: Path, folder: Path, numbers: Mapping[int, Mapping[str, int]]
) -> dict[str, _Clip]:
    clips: dict[str, _Clip] = {}
    (folder / "clips").mkdir()

    def rows() -> Iterator[Row]:
        for part, wanted in numbers.items():
            table = read_part(root / "audio" / part_name(part))
            table = table.filter(pc.is_in(table["audio_id"], value_set=pa.array(list(wanted))))
            for row in sorted(table.to_pylist(), key=lambda row: str(row["audio_id"])):
                file = f"clips/{wanted[row['audio_id']]:05d}.{extension(row['codec'])}"
                (folder / file).write_bytes(row["audio"]["bytes"])
                clips[row["audio_id"]] = _Clip(file, row["num_samples"], row["sampling_rate"])
                yield row

    write_part(folder, AUDIO, rows(), table=TABLES["audio"], identity="")
    return clips


def _rows(root: Path, chosen: Sequence[Candidate]) -> Iterator[Row]:
    """Yields the chosen rows whole, by sample_id."""
    wanted = pa.array([each.sample_id for each in chosen])
    found: dict[str, Row] = {}
    for path in sorted((root / "samples").glob("part-*.parquet")):
        ids = read_part(path, ["sample_id"])["sample_id"]
        if pc.any(pc.is_in(ids, value_set=wanted)).as_py():
            table = read_part(path)
            kept = table.filter(pc.is_in(table["sample_id"], value_set=wanted))
            found |= {row["sample_id"]: row for row in kept.to_pylist()}
    if len(found) < len(chosen):
        raise ShardError(
            f"{root}: samples/ must stay as it is while a benchmark is built, "
            f"{len(chosen) - len(found):,} rows are gone; build it again"
        )
    for each in chosen:
        yield found[each.sample_id]


def _in_one_part(row: Row) -> Row:
    return row | {"audio_refs": [ref | {"audio_part": 0} for ref in row["audio_refs"]]}


def _question(row: Row, clips: Mapping[str, _Clip]) -> Mapping[str, Any]:  # Any: JSON
    (ref,) = row["audio_refs"]
    clip = clips[ref["audio_id"]].file
    turns = [
        {
            "role": turn["role"],
            "content": [
                {"type": "audio", "audio": clip}
                if span["type"] == "audio"
                else {"type": "text", "text": span["text"]}
                for span in turn["content"]
            ],
        }
        for turn in row["messages"][:-1]
    ]
    return _head(row) | {"audio": clip, "messages": turns}


def _text_question(row: Row) -> Mapping[str, Any]:  # Any: JSON
    return _head(row) | {"messages": row["text_messages"][:-1]}


def _head(row: Row) -> dict[str, Any]:  # Any: JSON
    head = {name: row[name] for name in ("sample_id", "eval_group", "task", "language")}
    return head | {"task_params": json.loads(row["task_params"])}


def _lines(questions: Any) -> str:  # Any: an iterable of JSON objects
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in questions)


def _described(  # noqa: PLR0913 - all that a benchmark is
    *,
    name: str,
    made: Sequence[Made],
    selection: Selection,
    rows: Sequence[Row],
    clips: Mapping[str, _Clip],
    split: str,
    scoring: EvaluationConfig,
) -> Description:
    generators = ((row["generator"]["model"], row["generator"]["revision"]) for row in rows)
    return Description(
        benchmark_version=VERSION,
        name=name,
        sllm_data=sllm_data.__version__,
        source=made[0],
        against=tuple(made[1:]),
        split=split,
        backbones=tuple(
            sorted({f"{model}@{revision}" for model, revision in generators if model})
        ),
        cells=selection.cells,
        left_out=selection.left_out,
        rows=len(rows),
        clips=len(clips),
        hours=sum(clip.num_samples / clip.rate_hz for clip in clips.values()) / 3600,
        speakers=len({speaker for row in rows for speaker in speakers_of(row)}),
        languages=tuple(sorted({row["language"] for row in rows})),
        scoring=_frozen(scoring, rows),
        files={},
    )


def _frozen(scoring: EvaluationConfig, rows: Sequence[Row]) -> EvaluationConfig:
    """Returns the scoring with everything in it that a later version might say otherwise."""
    limits = {row["instruction_id"]: scoring.limits_of(row["instruction_id"]) for row in rows}
    return scoring.model_copy(
        update={
            "tasks": {task: scoring.scoring(task) for task in sorted({r["task"] for r in rows})},
            "limits": dict(sorted(limits.items())),
        }
    )


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in files}


def _sources(folder: Path) -> list[SourceFacts]:
    with TemporaryDirectory() as scratch:
        return sources_in(folder, Path(scratch))


def _card(description: Description, sources: Sequence[SourceFacts]) -> str:
    front = {
        "configs": [
            {"config_name": table, "data_files": [{"split": "test", "path": f"{table}/*.parquet"}]}
            for table in ("samples", "audio")
        ],
        "tags": ["speech", "benchmark", "sllm-data"],
    }
    groups = "\n".join(
        f"| {EVAL_GROUPS[group]} | {cell(', '.join(tasks))} | {sum(tasks.values()):,} |"
        for group, tasks in description.cells.items()
    )
    corpora = "\n".join(
        f"| {cell(each.corpus)} | {cell(each.version)} | {cell(each.licence or 'not stated')} "
        f"| {each.rows:,} | {each.hours:.2f} |"
        for each in sources
    )
    body = _CARD.format(
        **{name: getattr(description, name) for name in ("name", "rows", "clips", "hours")},
        speakers=description.speakers,
        groups=groups,
        sources=" and ".join(each.name for each in (description.source, *description.against)),
        backbones=cell(", ".join(description.backbones) or "the corpus"),
        corpora=corpora,
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{body}"
