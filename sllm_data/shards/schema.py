"""Every table of a dataset: its columns, their Arrow types and what they mean.

The one source for the Arrow schemas, for `schema.json` in each dataset, and for
docs/samples.md. Names and types are the contract: it is extended by nullable columns and
never by changing a meaning, and each change adds a line to HISTORY.

Repeated strings are plain strings in Arrow and dictionary-encoded in Parquet: the Hugging
Face reader has no dictionary type.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1

HISTORY = {
    1: "2026-11: first version; candidates: start_s; samples: quality.role_marker, "
    "cut, response_top_token_ids; responses: top_token_ids, top_logprobs; alignments.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column: `nullable` says whether a value may be missing."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One table: `key` names the column whose values are unique in the dataset."""

    name: str
    meaning: str
    key: str
    columns: tuple[Column, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema.

        An `audio` column is nullable in Arrow, though never null: the Hugging Face reader
        takes a non-nullable one for a plain struct and would not play it.
        """
        return pa.schema(
            [
                pa.field(c.name, c.type, nullable=c.nullable or c.name == "audio")
                for c in self.columns
            ]
        )

    def names(self, *, without: tuple[str, ...] = ()) -> list[str]:
        """Column names in order, less those given."""
        return [c.name for c in self.columns if c.name not in without]


_STR, _I16, _I32, _I64 = pa.string(), pa.int16(), pa.int32(), pa.int64()
_F32, _F64, _BOOL = pa.float32(), pa.float64(), pa.bool_()


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct([pa.field(name, kind) for name, kind in fields.items()])


SPEAKER = _struct(id=_STR, gender=_STR, age=_STR, accent=_STR, emotion=_STR)
SOURCE = _struct(corpus=_STR, version=_STR, licence=_STR, attribution=_STR)
MESSAGE = _struct(role=_STR, content=_STR)
SAMPLING = _struct(temperature=_F64, top_p=_F64, top_k=_I32, max_tokens=_I32, stop=pa.list_(_STR))
AUDIO_REF = _struct(audio_part=_I32, audio_id=_STR)
SPAN = _struct(
    type=_STR,
    text=_STR,
    audio_index=_I16,
    start_sample=_I64,
    num_samples=_I64,
    gain_db=_F32,
    units=pa.list_(_I32),
    supervised=_BOOL,
)
WORD = _struct(text=_STR, start_sample=_I64, num_samples=_I64, confidence=_F32)
TURN = pa.struct([pa.field("role", _STR), pa.field("content", pa.list_(SPAN))])
GENERATOR = _struct(
    model=_STR,
    revision=_STR,
    engine=_STR,
    engine_version=_STR,
    chat_template_sha256=_STR,
    sampling=_STR,
    seed=_I64,
    request_key=_STR,
    prompt_mode=_STR,
    determinism=_STR,
)
QUALITY = _struct(
    copy_rate=_F32,
    repetition=_F32,
    language_match=_F32,
    mean_logprob=_F32,
    judge_score=_I16,
    verdict=_STR,
    role_marker=_BOOL,
)


def _column(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type=kind, meaning=meaning, nullable=nullable)


_AUDIO_ID = _column(
    "audio_id", _STR, "`<corpus>/<version>/<locale or subset>/<upstream id>`; unique"
)

CANDIDATES = Table(
    name="candidates",
    meaning="what the corpora list, cut into parts before any audio is opened",
    key="audio_id",
    columns=(
        _AUDIO_ID,
        _column("entry", _I16, "position of its corpus in the configuration, from 0"),
        _column("audio_path", _STR, "relative to the folder of that corpus"),
        _column("transcript", _STR, "as the corpus has it"),
        _column("language", _STR, "as the corpus names it: `en`, `zh-CN`"),
        _column("speaker", SPEAKER, "what is known of the speaker"),
        _column("corpus_split", _STR, "the corpus's own split", nullable=True),
        _column("source", SOURCE, "corpus, version, licence, attribution"),
        _column("duration_s", _F64, "as a table of the corpus claims, seconds", nullable=True),
        _column("start_s", _F64, "where in its file it begins, seconds", nullable=True),
        _column("extra", _STR, "JSON object of what else the corpus knew"),
    ),
)

AUDIO = Table(
    name="audio",
    meaning="every utterance once: the original bytes and what is known about them",
    key="audio_id",
    columns=(
        _AUDIO_ID,
        _column(
            "audio",
            _struct(bytes=pa.binary(), path=_STR),
            "original bytes and file name, readable as a Hugging Face `Audio`",
        ),
        _column("sha256", _STR, "of the bytes"),
        _column("pcm_sha256", _STR, "of the decoded samples, little-endian 16 bit, interleaved"),
        _column("codec", _STR, "container and coding: `flac/pcm_16`"),
        _column("sampling_rate", _I32, "hertz, native"),
        _column("num_channels", _I16, "channels"),
        _column("num_samples", _I64, "decoded frames at the native rate"),
        _column("duration_s", _F64, "num_samples / sampling_rate, seconds"),
        _column("transcript", _STR, "as the corpus has it"),
        _column("language", _STR, "as the corpus names it: `en`, `zh-CN`"),
        _column("speaker", SPEAKER, "id (a salted hash where required), gender, age, accent"),
        _column("corpus_split", _STR, "the corpus's own split", nullable=True),
        _column("source", SOURCE, "corpus, version, licence, attribution"),
        _column("extra", _STR, "JSON object of what else the corpus knew"),
        _column("entry", _I16, "position of its corpus in the configuration, from 0"),
    ),
)

INDEX = Table(
    name="index",
    meaning="the global pass: for each audio row its split and tasks, or why it is not used",
    key="audio_id",
    columns=(
        _column("audio_id", _STR, "the utterance"),
        _column("audio_part", _I32, "which part of `audio/` holds it"),
        _column("kept", _BOOL, "whether it is used"),
        _column("reason", _STR, "why not", nullable=True),
        _column("split", _STR, "train, validation or test", nullable=True),
        _column("tasks", pa.list_(_STR), "the tasks it was given, in draw order"),
    ),
)

ALIGNMENTS = Table(
    name="alignments",
    meaning="when each word of an utterance is said",
    key="audio_id",
    columns=(
        _column("audio_id", _STR, "the utterance, of the part of `audio/` with this number"),
        _column(
            "words",
            pa.list_(WORD),
            "in order, none overlapping the next; their texts together are the transcript",
        ),
        _column("backend", _STR, "who found them: files, pocketsphinx or ctc"),
        _column("confidence", _F32, "of the weakest 2 s of words, in [0, 1]", nullable=True),
    ),
)

_ROW_COLUMNS = (
    _column("task", _STR, "what is asked"),
    _column("task_params", _STR, 'canonical JSON: `{"to":"de"}`, `{}` without'),
    _column("variant", _STR, "which layout of the prompt, or cut policy"),
)

_LIKELIEST = (
    "at the place of each of its tokens, the `backbone.top_logprobs` likeliest tokens, likeliest "
    "first; where asked for"
)
_LOGPROBS = "natural log probabilities of those, before temperature and cuts; the same shape"

REQUESTS = Table(
    name="requests",
    meaning="every rendered prompt with its sampling parameters",
    key="request_id",
    columns=(
        _column("request_id", _STR, "`<sample_id>:<pass>`; unique"),
        _column("sample_id", _STR, "the sample it is for"),
        _column("audio_part", _I32, "which part of `audio/` holds its utterance"),
        _column("audio_id", _STR, "its utterance"),
        *_ROW_COLUMNS,
        _column("draw_index", _I16, "0, 1, ... where one cell is drawn repeatedly"),
        _column("instruction_id", _STR, "which wording"),
        _column("instruction_language", _STR, "language of that wording"),
        _column("template_id", _STR, "which prompt template"),
        _column("split", _STR, "train, validation or test"),
        _column("eval_group", _STR, "train, held_out_instruction or held_out_task"),
        _column("transcript_prepared", _STR, "the transcript as the backbone is shown it"),
        _column("target", _STR, "generated, or transcript where that is the answer"),
        _column("messages", pa.list_(MESSAGE), "what the backbone sees"),
        _column("prompt_token_ids", pa.list_(_I32), "the same by the model's chat template"),
        _column("sampling", SAMPLING, "all parameters, explicit"),
        _column("seed", _I64, "of this request"),
        _column("request_key", _STR, "hash of all that the answer depends on"),
        _column("model", _STR, "backbone"),
        _column("revision", _STR, "of the backbone"),
        _column("chat_template_sha256", _STR, "of the chat template and its arguments"),
    ),
)

RESPONSES = Table(
    name="responses",
    meaning="what the backbone answered",
    key="request_id",
    columns=(
        _column("request_id", _STR, "the request"),
        _column("request_key", _STR, "its key"),
        _column("text", _STR, "the answer"),
        _column("token_ids", pa.list_(_I32), "empty where a server does not tell"),
        _column("finish_reason", _STR, "stop, or length where it was cut off"),
        _column("num_prompt_tokens", _I32, "tokens of the prompt"),
        _column("num_response_tokens", _I32, "tokens of the answer"),
        _column("num_cached_tokens", _I32, "prompt tokens from the cache", nullable=True),
        _column("mean_logprob", _F32, "of the answer's tokens, where asked for", nullable=True),
        _column("top_token_ids", pa.list_(pa.list_(_I32)), _LIKELIEST, nullable=True),
        _column("top_logprobs", pa.list_(pa.list_(_F32)), _LOGPROBS, nullable=True),
        _column("engine", _STR, "vllm, openai, scripted; none where nothing was asked"),
        _column("engine_version", _STR, "of the engine"),
        _column("prompt_mode", _STR, "ids, messages or none"),
        _column("determinism", _STR, "what the engine promises: seeded, strict, ..."),
        _column("reused_from", _STR, "the dataset it was taken from", nullable=True),
    ),
)

SAMPLES = Table(
    name="samples",
    meaning="the training rows",
    key="sample_id",
    columns=(
        _column(
            "sample_id",
            _STR,
            "hash of clips, recipe, kind, task, drawn parameters, wording; unique",
        ),
        _column("recipe", _STR, "which system it reproduces"),
        _column("kind", _STR, "`instruct`, or `interleaved` where speech and text take turns"),
        *_ROW_COLUMNS,
        _column("audio_refs", pa.list_(AUDIO_REF), "the clips it uses"),
        _column("messages", pa.list_(TURN), "the conversation as spans of text and audio"),
        _column("text_messages", pa.list_(MESSAGE), "the twin that the backbone saw"),
        _column("response", _STR, "the last assistant turn"),
        _column("response_token_ids", pa.list_(_I32), "its tokens", nullable=True),
        _column("response_top_token_ids", pa.list_(pa.list_(_I32)), _LIKELIEST, nullable=True),
        _column("response_logprobs", pa.list_(pa.list_(_F32)), _LOGPROBS, nullable=True),
        _column("response_language", _STR, "detected; `und` where it can't be told"),
        _column("num_response_tokens", _I32, "tokens of the response"),
        _column("finish_reason", _STR, "stop; length: its end-of-text token is not trained"),
        _column("instruction_id", _STR, "which wording"),
        _column("template_id", _STR, "which prompt template"),
        _column("pool_sha256", _STR, "of the pool's file"),
        _column("template_sha256", _STR, "of the template's file"),
        _column("split", _STR, "train, validation or test"),
        _column("eval_group", _STR, "train, held_out_instruction or held_out_task"),
        _column("language", _STR, "of the speech"),
        _column("transcript", _STR, "as the corpus has it"),
        _column("transcript_prepared", _STR, "as the backbone was shown it"),
        _column("speech_share", _F32, "share of the transcript's words that are heard"),
        _column("cut", _STR, "policy by which speech and text take turns", nullable=True),
        _column("speakers", pa.list_(SPEAKER), "one for each clip"),
        _column("generator", GENERATOR, "enough to ask again"),
        _column("quality", QUALITY, "what the filters saw"),
        _column("source", SOURCE, "corpus, version, licence, attribution"),
    ),
)

REJECTIONS = Table(
    name="rejections",
    meaning="every dropped row, with its step and reason",
    key="row_id",
    columns=(
        _column("row_id", _STR, "audio_id, request_id or sample_id; file:line before that"),
        _column("audio_id", _STR, "the utterance, where known", nullable=True),
        _column("step", _STR, "which step dropped it"),
        _column("reason", _STR, "enumerated, see records.Reason"),
        _column("detail", _STR, "what was expected and found"),
    ),
)


def missing_columns(table: Table, names: Collection[str]) -> list[Column]:
    """Returns the nullable columns that are not among those named.

    A part that was written before a column was added lacks it: its values are missing.
    """
    return [c for c in table.columns if c.nullable and c.name not in names]


TABLES = {
    table.name: table
    for table in (CANDIDATES, AUDIO, INDEX, ALIGNMENTS, REQUESTS, RESPONSES, SAMPLES, REJECTIONS)
}


def as_json(table: Table) -> dict[str, Any]:  # Any: JSON document
    """Returns the published description of a table, for `schema.json`."""
    return {
        "meaning": table.meaning,
        "key": table.key,
        "columns": [
            {
                "name": c.name,
                "type": str(c.type),
                "nullable": c.nullable,
                "meaning": c.meaning,
            }
            for c in table.columns
        ],
    }
