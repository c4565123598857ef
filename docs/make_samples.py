# ruff: noqa: INP001 - a script
"""Writes docs/samples.md, the contract of a dataset's tables, from shards/schema.py.

    .venv/bin/python -m docs.make_samples

tests/shards/test_samples_docs.py fails where the file is not what this makes.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sllm_data.records import (
    Generator,
    Message,
    Quality,
    Sample,
    Source,
    Span,
    Speaker,
    Turn,
)
from sllm_data.shards import SCHEMA_VERSION, TABLES
from sllm_data.shards import schema as tables
from sllm_data.shards.parts import AUDIO_ROWS_PER_GROUP
from sllm_data.shards.schema import HISTORY, Table
from sllm_data.steps.rows import sample_row

FILE = Path(__file__).parent / "samples.md"

STRUCTS = {
    "speaker": (
        tables.SPEAKER,
        "Who speaks, as far as the corpus knows.",
        {
            "id": "the corpus's own, or a salted hash where it forbids identifying people",
            "gender": "female, male or other",
            "age": "as the corpus words it: a number, or a decade such as `twenties`",
            "accent": "as the corpus words it",
            "emotion": "as the corpus words it",
        },
    ),
    "source": (
        tables.SOURCE,
        "Where a row's clip comes from and under which terms.",
        {
            "corpus": "short name, the first part of its audio_id",
            "version": "of the corpus",
            "licence": "SPDX identifier where one exists",
            "attribution": "whom to name",
        },
    ),
    "message": (
        tables.MESSAGE,
        "One turn as plain text.",
        {"role": "system, user or assistant", "content": "its text"},
    ),
    "turn": (
        tables.TURN,
        "One turn as spans.",
        {"role": "system, user or assistant", "content": "its spans, in order"},
    ),
    "span": (
        tables.SPAN,
        "A stretch of a turn. Which fields are set depends on `type`.",
        {
            "type": "text or audio; units is reserved for recipes with speech tokens",
            "text": "of a text span",
            "audio_index": "of an audio span: which of the row's `audio_refs`, from 0",
            "start_sample": "of an audio span: its first frame, at the clip's native rate",
            "num_samples": "of an audio span: how many frames, at the clip's native rate",
            "gain_db": "change of level in decibels; missing is none",
            "units": "of a units span: speech tokens",
            "supervised": "whether a trainer computes a loss on it",
        },
    ),
    "audio_ref": (
        tables.AUDIO_REF,
        "Names a clip.",
        {
            "audio_part": "`audio/part-00000.parquet` is part 0",
            "audio_id": "the row of that part",
        },
    ),
    "sampling": (
        tables.SAMPLING,
        "Sampling parameters, all of them.",
        {
            "temperature": "0 is greedy",
            "top_p": "1 is off",
            "top_k": "0 is off",
            "max_tokens": "longest answer",
            "stop": "texts that end the answer",
        },
    ),
    "generator": (
        tables.GENERATOR,
        "Enough to ask the same question again.",
        {
            "model": "the backbone, without folders",
            "revision": "of the backbone",
            "engine": "vllm, openai or scripted; none where the transcript is the answer",
            "engine_version": "of the engine",
            "chat_template_sha256": "of the chat template and its arguments",
            "sampling": "canonical JSON",
            "seed": "of the request",
            "request_key": "hash of all that the answer depends on",
            "prompt_mode": "ids, messages (the server rendered them), or none",
            "determinism": "what the engine promised",
        },
    ),
    "quality": (
        tables.QUALITY,
        "What the filters saw; missing where one did not apply.",
        {
            "copy_rate": "how much of the response is a copy of the transcript, 0 to 1",
            "repetition": "share of the response covered by its worst loop, 0 to 1",
            "language_match": "confidence that it is in the language it should be in, 0 to 1",
            "mean_logprob": "of the response's tokens",
            "judge_score": "1 to 5",
            "verdict": "`kept`, or `truncated` where it was kept with that mark",
            "role_marker": "whether the transcript holds a role marker of the chat template "
            "that is plain text (`USER:`); missing where control tokens begin the turns",
        },
    ),
}

_INTRODUCTION = """# The sample contract

What stands in a dataset that `sllm-data run` wrote: every table, column, type and meaning,
schema version {version}. Written by `docs/make_samples.py` from `sllm_data/shards/schema.py`;
each dataset carries the same as `schema.json`.

Names and types are the contract. It grows by columns that may be missing (nullable), never by
a changed meaning, and each change adds a line to the history below: readers should pass over
columns that they don't know. This package refuses a part whose schema version is higher than
its own.

## Parts and order

Every table is a folder of Parquet files `part-00000.parquet`, `part-00001.parquet`, ...;
`requests/` and `responses/` have one folder for each pass (`main`, and `restore`,
`question`, `followup`, `followup_answer`, `judge` where they are asked for),
`rejections/` one for each step. A part without rows is a file without rows. Part k of
`requests/main/`, `responses/main/` and `samples/` comes from part k of `index/`; which part of
`audio/` holds a clip is told by the row. A dataset that was extended has more parts, and its
older ones are untouched. The footer of each part names its table, schema version, the hash of
the configuration its rows depend on, and counts; `manifest/<step>.json` lists all parts of a
step with their digests.

The audio column is stored uncompressed, in row groups of at most {group} rows, so that one
clip can be read without its neighbours; everything else is compressed with zstd.

## Training on it

- Train on rows whose `split` and `eval_group` both say `train`.
- `messages` is the conversation with audio; `text_messages` is its twin in text, which the
  backbone saw. Both have the same turns and the same last answer.
- Only spans with `supervised` have a loss. Where `finish_reason` is `length` the answer was
  cut off: don't train its end-of-text token.
- Where `backbone.top_logprobs` asked for them, `response_top_token_ids` and `response_logprobs`
  tell what the backbone, having read the text twin, held for likeliest at each place of
  `response_token_ids`: a loss that compares distributions (KL) then needs no backbone beside the
  student. They come from the model's own logits, before temperature and cuts, so the token that
  was sampled need not be among them.
- Intervals are [start, start + num), in frames of the decoded clip at its native rate.

## From samples to audio

`audio_refs` names the clips of a row by part and id; `messages` points to them by position.

With DuckDB, for any number of parts:

```sql
SELECT s.sample_id, s.response, a.audio.bytes, a.sampling_rate
FROM (SELECT *, unnest(audio_refs) AS ref FROM 'samples/*.parquet') s
JOIN 'audio/*.parquet' a ON a.audio_id = s.ref.audio_id;
```

With pyarrow, one part at a time:

```python
import pyarrow.parquet as pq

samples = pq.read_table("samples/part-00000.parquet").to_pylist()
clips = {{row["audio_id"]: row for row in pq.read_table("audio/part-00000.parquet").to_pylist()}}
ref = samples[0]["audio_refs"][0]  # this one names part 0
encoded = clips[ref["audio_id"]]["audio"]["bytes"]  # FLAC, MP3, ... as the corpus had it
```

With `datasets`, which decodes:

```python
from datasets import load_dataset

samples = load_dataset("path/to/dataset", "samples", split="train")
audio = load_dataset("path/to/dataset", "audio", split="train")
row_of = {{audio_id: row for row, audio_id in enumerate(audio["audio_id"])}}
clip = audio[row_of[samples[0]["audio_refs"][0]["audio_id"]]]["audio"].get_all_samples()
```

## One sample

A row of `samples/` as JSON, without what is missing in it; ids and hashes are made up:

```json
{example}
```
"""


def document() -> str:
    """Returns the content of docs/samples.md."""
    example = json.dumps(_lean(sample_row(EXAMPLE)), indent=1, ensure_ascii=False)
    head = _INTRODUCTION.format(
        version=SCHEMA_VERSION, group=AUDIO_ROWS_PER_GROUP, example=example
    )
    return "\n".join([head, "## Tables\n", *_tables(), "## Structs\n", *_structs(), *_history()])


def _tables() -> Iterator[str]:
    first = ("samples", "audio")
    for name in (*first, *(name for name in TABLES if name not in first)):
        yield from _table(TABLES[name])


def _table(table: Table) -> Iterator[str]:
    yield f"### {table.name}\n"
    yield f"{table.meaning[0].upper()}{table.meaning[1:]}. Its key is `{table.key}`.\n"
    yield "| column | type | missing | meaning |"
    yield "|---|---|---|---|"
    for column in table.columns:
        missing = "may be" if column.nullable else "never"
        yield f"| `{column.name}` | {type_name(column.type)} | {missing} | {column.meaning} |"
    yield ""


def _structs() -> Iterator[str]:
    yield "Any field of a struct may be missing.\n"
    for name, (kind, meaning, meanings) in STRUCTS.items():
        yield f"### {name}\n"
        yield f"{meaning}\n"
        yield "| field | type | meaning |"
        yield "|---|---|---|"
        for field in kind:
            yield f"| `{field.name}` | {type_name(field.type)} | {meanings[field.name]} |"
        yield ""


def _history() -> Iterator[str]:
    yield "## History of the schema\n"
    yield "| version | change |"
    yield "|---|---|"
    for version, line in HISTORY.items():
        yield f"| {version} | {line} |"
    yield ""


def type_name(kind: pa.DataType) -> str:
    """Words a type; structs that have a name by that name."""
    for name, (struct, _, _) in STRUCTS.items():
        if kind.equals(struct):
            return f"[{name}](#{name})"
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "struct of " + ", ".join(f"{f.name} {type_name(f.type)}" for f in kind)
    return {"double": "float64", "float": "float32"}.get(str(kind), str(kind))


def _lean(value: object) -> object:
    if isinstance(value, dict):
        return {key: _lean(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_lean(inner) for inner in value]
    return value


_QUESTION = "Which three words carry the meaning? List them, most important first."
_TRANSCRIPT = "THE FERRY WAS LATE BECAUSE OF THE FOG"
_ANSWER = "ferry, fog, late"

EXAMPLE = Sample(
    sample_id="5f0c1f6e3d1b4a7f9a1d2c3b4e5f6071",
    recipe="self_powered",
    kind="instruct",
    task="keywords",
    task_params="{}",
    variant="instruction_first",
    audio_refs=((0, "librispeech/slr12/train-clean-100/1-2-0003"),),
    messages=(
        Turn(
            role="user",
            content=(
                Span(type="text", text=f"{_QUESTION}\n\n"),
                Span(type="audio", audio_index=0, start_sample=0, num_samples=41_280),
            ),
        ),
        Turn(
            role="assistant",
            content=(Span(type="text", text=_ANSWER, supervised=True),),
        ),
    ),
    text_messages=(
        Message(role="user", content=f"{_QUESTION}\n\n{_TRANSCRIPT}"),
        Message(role="assistant", content=_ANSWER),
    ),
    response=_ANSWER,
    response_language="en",
    num_response_tokens=6,
    finish_reason="stop",
    instruction_id="keywords.en.00",
    template_id="instruction_first",
    pool_sha256="a" * 64,
    template_sha256="b" * 64,
    split="train",
    eval_group="train",
    language="en",
    transcript=_TRANSCRIPT,
    transcript_prepared=_TRANSCRIPT,
    speech_share=1.0,
    speakers=(Speaker(id="1", gender="female"),),
    generator=Generator(
        model="Qwen/Qwen2.5-7B-Instruct",
        revision="c" * 40,
        engine="vllm",
        engine_version="0.32.0",
        chat_template_sha256="d" * 64,
        sampling='{"max_tokens":96,"stop":[],"temperature":0.0,"top_k":0,"top_p":1.0}',
        seed=1_234_567_890,
        request_key="e" * 32,
        prompt_mode="ids",
        determinism="seeded",
    ),
    quality=Quality(copy_rate=0.43, repetition=0.0, verdict="kept"),
    source=Source(
        corpus="librispeech",
        version="slr12",
        licence="CC-BY-4.0",
        attribution="LibriSpeech ASR corpus, Panayotov et al. 2015, from LibriVox recordings",
    ),
)


def main() -> None:
    """Writes the file."""
    FILE.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
