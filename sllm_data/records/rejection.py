"""A dropped row and the enumerated reasons for which rows are dropped."""

from dataclasses import dataclass
from enum import StrEnum

from sllm_data.errors import one_line

MAX_DETAIL = 500


class Reason(StrEnum):
    """Why a row was dropped. The value is what stands in `rejections/`."""

    # listing a corpus
    MALFORMED_ROW = "malformed_row"
    DUPLICATE_ID = "duplicate_id"
    AUDIO_MISSING = "audio_missing"
    TRANSCRIPT_MISSING = "transcript_missing"
    PATH_OUTSIDE_CORPUS = "path_outside_corpus"
    FEW_VOTES = "few_votes"
    # opening its audio
    EMPTY_TRANSCRIPT = "empty_transcript"
    UNREADABLE_AUDIO = "unreadable_audio"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    SILENT = "silent"
    BEYOND_END = "beyond_end"
    WRONG_DURATION = "wrong_duration"
    # the global pass
    DUPLICATE_AUDIO = "duplicate_audio"
    SPLIT_CONFLICT = "split_conflict"
    UNKNOWN_SPEAKER = "unknown_speaker"
    NO_ELIGIBLE_TASK = "no_eligible_task"
    # finding its words in its audio
    NOT_ALIGNED = "not_aligned"
    SHORTER_THAN_TRANSCRIPT = "shorter_than_transcript"
    LOW_CONFIDENCE = "low_confidence"
    OTHER_WORDS = "other_words"
    BAD_WORD_TIMES = "bad_word_times"
    # planning and asking
    PROMPT_TOO_LONG = "prompt_too_long"
    NO_RESTORED_TRANSCRIPT = "no_restored_transcript"
    NO_QUESTION = "no_question"
    REFUSED_BY_ENGINE = "refused_by_engine"
    # verdicts on responses
    TRUNCATED = "truncated"
    EMPTY_RESPONSE = "empty_response"
    REFUSAL = "refusal"
    REPETITION_LOOP = "repetition_loop"
    WRONG_LANGUAGE = "wrong_language"
    BROKEN_JSON = "broken_json"
    COPIED_TRANSCRIPT = "copied_transcript"
    LEAKED_TEMPLATE = "leaked_template"
    JUDGED_BAD = "judged_bad"
    # cutting clips into speech and text
    TOO_SHORT_TO_INTERLEAVE = "too_short_to_interleave"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """One row that was dropped; nothing is dropped without one."""

    row_id: str
    """audio_id, request_id or sample_id; or file:line where the row had no id yet."""
    audio_id: str | None
    """The utterance concerned, where one is known."""
    step: str
    """The step that dropped it: candidates, ingest, index, align, plan, generate, assemble."""
    reason: Reason
    detail: str
    """One printable line: what was expected and what was found."""

    def __post_init__(self) -> None:
        # it quotes what corpora and servers say
        object.__setattr__(self, "detail", one_line(self.detail, at_most=MAX_DETAIL))
