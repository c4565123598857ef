"""Level 1, row by row: what must hold of each row alone, whatever the run and the contract."""

from collections.abc import Iterator, Mapping

from sllm_data.records import Reason
from sllm_data.records.request import FINISH_REASONS
from sllm_data.records.utterance import SPLITS
from sllm_data.validation.conditions import (
    Condition,
    any_not_in,
    any_of,
    enum,
    id_like,
    json_object,
    language_code,
    missing,
    named,
    sha256,
    share,
    wrong,
)
from sllm_data.validation.published import PublishedTable
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import quoted

RULES = (
    Rule(
        name="null",
        level=1,
        meaning="a column that is never missing has a value in every row; so have role and "
        "content of every turn, both fields of every audio reference, and the audio itself",
    ),
    Rule(
        name="enum",
        level=1,
        meaning="splits, evaluation groups, roles, kinds of spans, reasons and the like are "
        "among the values that docs/samples.md lists",
    ),
    Rule(
        name="hash_format",
        level=1,
        meaning="a SHA-256 is 64 lower-case hexadecimal digits, that of a chat template may be "
        "empty",
    ),
    Rule(
        name="id_format",
        level=1,
        meaning="an audio_id has four levels, a sample_id and a request_key 32 hexadecimal "
        "digits, a request_id is `<sample_id>:<pass>`",
        foreign="warning",
    ),
    Rule(
        name="json_format",
        level=1,
        meaning="`extra`, `task_params` and `generator.sampling` are JSON objects",
    ),
    Rule(
        name="language_format",
        level=1,
        meaning="a language is a code such as `en` or `zh-CN`",
    ),
    Rule(
        name="empty_text",
        level=1,
        meaning="a transcript holds a letter or a digit; codec, engine and licence are named",
    ),
    Rule(
        name="clip_numbers",
        level=1,
        meaning="sampling rate, channels and samples are positive, and `duration_s` is samples "
        "by rate",
    ),
    Rule(
        name="response_length",
        level=1,
        meaning="a response has no more tokens than its task's `max_tokens` and the contract "
        "allow, and as many as it says",
    ),
    Rule(
        name="likeliest_tokens",
        level=1,
        meaning="the likeliest tokens of a response, where it has them, are one list for each of "
        "its tokens, all of one length, `backbone.top_logprobs` of the run, distinct and sorted; "
        "their log probabilities are finite, at most 0 and together no more than certain",
    ),
    Rule(
        name="score_range",
        level=1,
        meaning="shares and rates lie in 0 to 1, a judge's score in 1 to 5",
    ),
    Rule(
        name="index_verdict",
        level=1,
        meaning="a row of the index is kept with a split and distinct tasks, or not kept with a "
        "reason and without either",
    ),
    Rule(
        name="word_form",
        level=1,
        meaning="a word of an alignment has text, a start and a length, and the words of an "
        "utterance stand in order without overlap",
    ),
    Rule(
        name="span_form",
        level=1,
        meaning="a text span has text, an audio span names a clip of its row, a start and a "
        "length and is not supervised; an assistant speaks last, and something is supervised",
    ),
)

EVAL_GROUPS = ("train", "held_out_instruction", "held_out_task")
_ROLES = ("system", "user", "assistant")
_SPAN_TYPES = ("text", "audio", "units")
_BACKENDS = ("files", "pocketsphinx", "ctc")
_PROMPT_MODES = ("ids", "messages", "none")
_STEPS = ("candidates", "ingest", "index", "align", "plan", "generate", "assemble")
_HASH128 = "[0-9a-f]{32}"
_SPANS = "flatten(list_transform(messages, lambda m: m.content))"

_AUDIO_ID = id_like(
    "audio_id",
    r"[^/\s][^/]*/[^/]+/[^/]+/(.*\S)?",
    "must be <corpus>/<version>/<locale or subset>/<upstream id>",
)
_WORDS = r"[\p{L}\p{N}]"
_TRANSCRIPT = wrong(
    "empty_text",
    "transcript",
    f"NOT regexp_matches(transcript, '{_WORDS}')",
    "must hold a letter or a digit",
)

_CERTAIN = 1.01  # probabilities of half precision may come to a little more than 1


def _likeliest(top: str, logprobs: str, token_ids: str) -> Iterator[Condition]:
    yield wrong(
        "likeliest_tokens",
        top,
        f"({top} IS NULL) <> ({logprobs} IS NULL) OR len({top}) <> coalesce(len({token_ids}), 0) "
        f"OR list_transform({top}, lambda x: len(x)) "
        f"IS DISTINCT FROM list_transform({logprobs}, lambda x: len(x)) "
        f"OR len(list_distinct(list_transform({top}, lambda x: coalesce(len(x), -1)))) > 1",
        f"must be one list for each of {token_ids}, all of one length, the same as {logprobs}",
        value=f"list_transform({top}, lambda x: len(x))",
    )
    yield wrong(
        "likeliest_tokens",
        top,
        any_of(top, "len(list_distinct(x)) < len(x) OR list_min(x) < 0"),
        "must be distinct token ids",
    )
    yield wrong(
        "likeliest_tokens",
        logprobs,
        any_of(
            logprobs,
            "len(list_filter(x, lambda p: p IS NULL OR NOT isfinite(p) OR p > 0)) > 0 "
            "OR x <> list_reverse_sort(x) "
            f"OR list_sum(list_transform(x, lambda p: exp(p))) > {_CERTAIN}",
        ),
        "must be finite and at most 0, the largest first, and together no more than certain",
    )


FIXED: Mapping[str, tuple[Condition, ...]] = {
    "candidates": (
        _AUDIO_ID,
        enum("corpus_split", SPLITS),
        enum("speaker.gender", ("female", "male", "other")),
        language_code("language"),
        json_object("extra"),
        named("source.licence"),
    ),
    "audio": (
        _AUDIO_ID,
        enum("corpus_split", SPLITS),
        enum("speaker.gender", ("female", "male", "other")),
        sha256("sha256"),
        sha256("pcm_sha256"),
        language_code("language"),
        json_object("extra"),
        _TRANSCRIPT,
        named("codec"),
        named("source.licence"),
        *(
            wrong("clip_numbers", name, f"{name} < 1", "must be at least 1")
            for name in ("sampling_rate", "num_channels", "num_samples")
        ),
        wrong(
            "clip_numbers",
            "duration_s",
            "sampling_rate > 0 AND NOT abs(duration_s - num_samples / sampling_rate) < 1e-6",
            "must be num_samples / sampling_rate",
        ),
    ),
    "alignments": (
        _AUDIO_ID,
        enum("backend", _BACKENDS),
        share("confidence"),
        wrong(
            "word_form",
            "words",
            any_of("words", "x.start_sample < 0 OR x.num_samples < 1 OR trim(x.text) = ''"),
            "must be words with text, a start and a length of a sample or more",
        ),
        wrong(
            "word_form",
            "words",
            "len(list_filter(range(2, len(words) + 1), lambda i: words[i].start_sample < "
            "words[i - 1].start_sample + words[i - 1].num_samples)) > 0",
            "must stand in order, each beginning where the one before it has ended or later",
        ),
    ),
    "index": (
        enum("split", SPLITS),
        enum("reason", Reason),
        wrong(
            "index_verdict",
            "reason",
            "kept <> (reason IS NULL)",
            "must say why where the row is not kept, and only there",
        ),
        wrong(
            "index_verdict",
            "split",
            "kept <> (split IS NOT NULL)",
            "must be given where the row is kept, and only there",
        ),
        wrong(
            "index_verdict",
            "tasks",
            "(NOT kept AND len(tasks) > 0) OR len(list_distinct(tasks)) < len(tasks)",
            "must be distinct, and none where the row is not kept",
        ),
    ),
    "requests": (
        id_like("sample_id", _HASH128, "must be 32 lower-case hexadecimal digits"),
        wrong(
            "id_format",
            "request_key",
            f"CASE WHEN target = 'transcript' THEN request_key <> '' "
            f"ELSE NOT regexp_full_match(request_key, '{_HASH128}') END",
            "must be 32 lower-case hexadecimal digits, or empty where nothing is asked",
        ),
        enum("split", SPLITS),
        enum("eval_group", EVAL_GROUPS),
        enum("target", ("generated", "transcript")),
        any_not_in("messages", "list_transform(messages, lambda m: m.role)", _ROLES),
        json_object("task_params"),
        language_code("instruction_language"),
        sha256("chat_template_sha256", may_be_empty=True),
        wrong("empty_text", "transcript_prepared", "trim(transcript_prepared) = ''", "is empty"),
        wrong(
            "response_length",
            "sampling.max_tokens",
            "sampling.max_tokens < 1",
            "must be at least 1",
        ),
    ),
    "responses": (
        *_likeliest("top_token_ids", "top_logprobs", "token_ids"),
        enum("finish_reason", FINISH_REASONS),
        enum("prompt_mode", _PROMPT_MODES),
        named("engine"),
        wrong(
            "response_length",
            "num_response_tokens",
            "num_response_tokens < 0 OR (len(token_ids) > 0 AND "
            "num_response_tokens > 0 AND len(token_ids) <> num_response_tokens)",
            "must be the number of token_ids, where these are told",
        ),
    ),
    "samples": (
        *_likeliest("response_top_token_ids", "response_logprobs", "response_token_ids"),
        id_like("sample_id", _HASH128, "must be 32 lower-case hexadecimal digits"),
        enum("split", SPLITS),
        enum("eval_group", EVAL_GROUPS),
        enum("finish_reason", FINISH_REASONS),
        enum("generator.prompt_mode", _PROMPT_MODES),
        enum("quality.verdict", ("kept", "truncated")),
        any_not_in("messages", "list_transform(messages, lambda m: m.role)", _ROLES),
        any_not_in("messages", f"list_transform({_SPANS}, lambda s: s.type)", _SPAN_TYPES),
        any_not_in("text_messages", "list_transform(text_messages, lambda m: m.role)", _ROLES),
        sha256("pool_sha256"),
        sha256("template_sha256"),
        sha256("generator.chat_template_sha256", may_be_empty=True),
        json_object("task_params"),
        json_object("generator.sampling"),
        language_code("language"),
        language_code("response_language"),
        _TRANSCRIPT,
        named("generator.engine"),
        named("source.licence"),
        share("speech_share"),
        share("quality.copy_rate"),
        share("quality.repetition"),
        share("quality.language_match"),
        wrong(
            "score_range",
            "quality.judge_score",
            "NOT quality.judge_score BETWEEN 1 AND 5",
            "must lie in 1 to 5",
        ),
        wrong(
            "response_length",
            "num_response_tokens",
            "num_response_tokens < 0 OR (len(response_token_ids) > 0 AND "
            "num_response_tokens > 0 AND len(response_token_ids) <> num_response_tokens)",
            "must be the number of response_token_ids, where these are told",
        ),
        wrong(
            "span_form",
            "messages",
            f"len(list_filter({_SPANS}, lambda s: CASE s.type "
            "WHEN 'text' THEN s.text IS NULL OR s.audio_index IS NOT NULL "
            "WHEN 'audio' THEN s.audio_index IS NULL OR s.start_sample IS NULL "
            "OR s.num_samples IS NULL OR s.supervised OR s.audio_index < 0 "
            "OR s.audio_index >= len(audio_refs) ELSE false END)) > 0",
            "a text span must have text alone, an audio span a clip of this row, a start and a "
            "length, and no supervision",
            value=f"list_filter({_SPANS}, lambda s: s.type = 'audio' OR s.text IS NULL)[1]",
        ),
        wrong(
            "span_form",
            "messages",
            "messages[-1].role <> 'assistant' OR len(messages) = 0",
            "the last turn must be the assistant's",
            value="messages[-1].role",
        ),
        wrong(
            "span_form",
            "messages",
            f"len(list_filter({_SPANS}, lambda s: s.supervised)) = 0",
            "some span must be supervised",
            value="NULL",
        ),
        wrong(
            "span_form",
            "speakers",
            "len(speakers) <> len(audio_refs)",
            "must be one for each clip",
            value="len(speakers)",
        ),
    ),
    "rejections": (
        enum("reason", Reason),
        enum("step", _STEPS),
        named("row_id"),
    ),
}
"""By table."""


def nulls(table: str, published: PublishedTable) -> Iterator[Condition]:
    """Yields the conditions for values that must not be missing."""
    for name, column in published.columns.items():
        if not column.nullable:
            yield missing(name, f"{quoted(name)} IS NULL")
    match table:
        case "samples":
            yield missing(
                "audio_refs", any_of("audio_refs", "x.audio_part IS NULL OR x.audio_id IS NULL")
            )
            yield missing("messages", any_of("messages", "x.role IS NULL OR x.content IS NULL"))
            yield missing(
                "text_messages", any_of("text_messages", "x.role IS NULL OR x.content IS NULL")
            )
            yield missing("messages", any_of(_SPANS, "x.type IS NULL"))
        case "requests":
            yield missing("messages", any_of("messages", "x.role IS NULL OR x.content IS NULL"))
        case _:
            pass
