"""Which columns of which tables say the same thing, each as a pair of SQL expressions.

`l` is the row that is judged, `r` its partner in another table. How they are joined and
what becomes of a difference is `agreement`'s.
"""

from dataclasses import dataclass

from sllm_data.validation.rules import Rule

RULES = (
    Rule(
        name="clip_candidate",
        level=2,
        meaning="a clip has transcript, language, speaker and source of its candidate",
        foreign="off",
    ),
    Rule(
        name="request_index",
        level=2,
        meaning="a request has split and part of its clip's row in the index",
        foreign="off",
    ),
    Rule(
        name="word_clip",
        level=2,
        meaning="the words of an alignment are together the transcript of their clip, and end "
        "before it does",
        foreign="off",
    ),
    Rule(
        name="request_prompt",
        level=2,
        meaning="the last turn of a request holds the transcript as prepared",
        foreign="off",
    ),
    Rule(
        name="response_request",
        level=2,
        meaning="a response has the key of its request and lengths that fit its token ids; "
        "where the transcript is the answer, it is that, and no engine was asked",
        foreign="off",
    ),
    Rule(
        name="sample_request",
        level=2,
        meaning="a sample has task, wording, split, clip, prompt and sampling of its request",
        foreign="off",
    ),
    Rule(
        name="sample_response",
        level=2,
        meaning="a sample has text, tokens and engine of its response",
        foreign="off",
    ),
    Rule(
        name="sample_second",
        level=2,
        meaning="a sample with a second turn has question, text and tokens of the passes "
        "`followup` and `followup_answer`",
        foreign="off",
    ),
    Rule(
        name="sample_clip",
        level=2,
        meaning="a sample of one clip has its transcript, language, speaker and source, and "
        "`instruct` hears all of it",
        foreign="off",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Same:
    """Two expressions that must have one value."""

    column: str
    """The column to name where they differ."""
    found: str
    expected: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the rows of one table must have in common with those of another."""

    rule: str
    folder: str
    """Of the rows `l`: `samples`, `requests/main`."""
    key: str
    """Column of `l` that names a row; the share that is looked at is drawn by `sampled_by`."""
    other: str
    """Folder of the partners `r`; that of `l` where a row is judged by itself."""
    join: str
    """When `r` is the partner of `l`."""
    same: tuple[Same, ...]
    where: str = "true"
    sampled_by: str = "l.sample_id"


def comparisons(turns: tuple[str, ...]) -> tuple[Comparison, ...]:
    """Returns all comparisons for a dataset with these passes."""
    return (*_OF_TABLES, *(_response_request(turn) for turn in turns))


def _equal(*columns: str, in_struct: str = "") -> tuple[Same, ...]:
    """The same names on both sides; on the left they may be fields of a struct."""
    prefix = f"{in_struct}." if in_struct else ""
    return tuple(
        Same(column=f"{prefix}{name}", found=f"l.{prefix}{name}", expected=f"r.{name}")
        for name in columns
    )


def _only_if(condition: str, column: str, *, expected: str) -> Same:
    """A column that must have a value where a condition holds, and is free elsewhere."""
    return Same(
        column=column,
        found=f"l.{column}",
        expected=f"CASE WHEN {condition} THEN {expected} ELSE l.{column} END",
    )


def _response_request(turn: str) -> Comparison:
    transcript = "r.target = 'transcript'"
    # a server may count the end-of-text token and not return it
    far = "len(l.token_ids) > 0 AND abs(len(l.token_ids) - l.num_response_tokens) > 1"
    return Comparison(
        rule="response_request",
        folder=f"responses/{turn}",
        key="request_id",
        sampled_by="r.sample_id",
        other=f"requests/{turn}",
        join="l.request_id = r.request_id",
        same=(
            *_equal("request_key"),
            _only_if(transcript, "text", expected="r.transcript_prepared"),
            _only_if(transcript, "engine", expected="'none'"),
            _only_if(
                "l.prompt_mode = 'ids'", "num_prompt_tokens", expected="len(r.prompt_token_ids)"
            ),
            _only_if(far, "num_response_tokens", expected="len(l.token_ids)"),
        ),
    )


_SAMPLING = (
    '\'{"temperature": "DOUBLE", "top_p": "DOUBLE", "top_k": "INTEGER", '
    '"max_tokens": "INTEGER", "stop": ["VARCHAR"]}\''
)
_HEARD = (
    "[{'start': s.start_sample, 'num': s.num_samples} "
    "FOR s IN flatten([t.content FOR t IN l.messages]) IF s.type = 'audio']"
)

# rows in which every stretch of speech is answered: `span/repeat`
_EXCHANGE = "contains(coalesce(l.cut, ''), '/')"
# rows with a second turn: their response is the second answer
_SECOND = f"(NOT {_EXCHANGE} AND coalesce(l.text_messages[-3].role = 'assistant', false))"


def _answer(condition: str) -> tuple[Same, ...]:
    """What a sample has of its response, where a condition holds."""
    return (
        _only_if(condition, "finish_reason", expected="r.finish_reason"),
        Same(
            column="response_token_ids",
            found="coalesce(l.response_token_ids, [])",
            expected=f"CASE WHEN {condition} THEN r.token_ids "
            "ELSE coalesce(l.response_token_ids, []) END",
        ),
        _only_if(condition, "response_top_token_ids", expected="r.top_token_ids"),
        _only_if(condition, "response_logprobs", expected="r.top_logprobs"),
        _only_if(condition, "quality.mean_logprob", expected="r.mean_logprob"),
    )


_OF_TABLES = (
    Comparison(
        rule="clip_candidate",
        folder="audio",
        key="audio_id",
        sampled_by="l.audio_id",
        other="candidates",
        join="l.audio_id = r.audio_id",
        same=_equal(
            "transcript", "language", "speaker", "corpus_split", "source", "extra", "entry"
        ),
    ),
    Comparison(
        rule="request_index",
        folder="requests/main",
        key="request_id",
        other="index",
        join="l.audio_id = r.audio_id",
        same=_equal("audio_part", "split"),
    ),
    Comparison(
        rule="word_clip",
        folder="alignments",
        key="audio_id",
        sampled_by="l.audio_id",
        other="audio",
        join="l.audio_id = r.audio_id",
        same=(
            Same(
                column="words",
                found="array_to_string(list_transform(l.words, lambda w: w.text), '')",
                expected="r.transcript",
            ),
            Same(
                column="words",
                found="l.words[-1].start_sample + l.words[-1].num_samples <= r.num_samples",
                expected="true",
            ),
        ),
    ),
    Comparison(
        rule="request_prompt",
        folder="requests/main",
        key="request_id",
        other="requests/main",
        join="l.request_id = r.request_id",
        same=(
            Same(
                column="messages",
                found="contains(l.messages[-1].content, l.transcript_prepared)",
                expected="true",
            ),
        ),
    ),
    Comparison(
        rule="sample_request",
        folder="samples",
        key="sample_id",
        other="requests/main",
        join="l.sample_id = r.sample_id",
        same=(
            *_equal(
                "task",
                "task_params",
                "variant",
                "instruction_id",
                "template_id",
                "split",
                "eval_group",
                "transcript_prepared",
            ),
            *_equal(
                "model",
                "revision",
                "chat_template_sha256",
                "seed",
                "request_key",
                in_struct="generator",
            ),
            Same(
                column="generator.sampling",
                found="CASE WHEN json_valid(l.generator.sampling) "
                f"THEN from_json(l.generator.sampling, {_SAMPLING}) END",
                expected="r.sampling",
            ),
            Same(
                column="audio_refs",
                found="l.audio_refs",
                expected="[{'audio_part': r.audio_part, 'audio_id': r.audio_id}]",
            ),
            # DuckDB's slices end with the last element that is taken
            Same(
                column="text_messages",
                found=f"l.text_messages[:CASE WHEN {_SECOND} THEN -4 ELSE -2 END]",
                expected=f"CASE WHEN {_EXCHANGE} THEN l.text_messages[:-2] ELSE r.messages END",
            ),
        ),
    ),
    Comparison(
        rule="sample_response",
        folder="samples",
        key="sample_id",
        other="responses/main",
        join="l.sample_id || ':main' = r.request_id",
        same=(
            Same(
                column="response",
                found=f"CASE WHEN {_SECOND} THEN l.text_messages[-3].content ELSE l.response END",
                expected=f"CASE WHEN {_EXCHANGE} THEN l.response ELSE r.text END",
            ),
            # those of a transcript are counted when the sample is made
            _only_if(
                f"r.engine <> 'none' AND NOT {_SECOND}",
                "num_response_tokens",
                expected="r.num_response_tokens",
            ),
            *_equal(
                "engine", "engine_version", "prompt_mode", "determinism", in_struct="generator"
            ),
            *_answer(f"NOT {_SECOND}"),
        ),
    ),
    Comparison(
        rule="sample_second",
        folder="samples",
        key="sample_id",
        other="responses/followup_answer",
        join="l.sample_id || ':followup_answer' = r.request_id",
        where=_SECOND,
        same=(
            Same(column="response", found="l.response", expected="r.text"),
            *_equal("num_response_tokens"),
            *_answer("true"),
        ),
    ),
    Comparison(
        rule="sample_second",
        folder="samples",
        key="sample_id",
        other="requests/followup_answer",
        join="l.sample_id || ':followup_answer' = r.request_id",
        where=_SECOND,
        same=(Same(column="text_messages", found="l.text_messages[:-2]", expected="r.messages"),),
    ),
    Comparison(
        rule="sample_clip",
        folder="samples",
        key="sample_id",
        other="audio",
        join="l.audio_refs[1].audio_id = r.audio_id",
        where="len(l.audio_refs) = 1",
        same=(
            *_equal("transcript", "language", "source"),
            Same(column="speakers", found="l.speakers", expected="[r.speaker]"),
            Same(
                column="messages",
                found=_HEARD,
                expected="CASE WHEN l.kind = 'instruct' "
                f"THEN [{{'start': 0, 'num': r.num_samples}}] ELSE {_HEARD} END",
            ),
        ),
    ),
)
