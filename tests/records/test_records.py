"""A record that exists is valid: what it refuses, and what it computes."""

import dataclasses

import pytest

from sllm_data import errors, records
from sllm_data.errors import SllmDataError
from sllm_data.records import (
    Candidate,
    Reason,
    Rejection,
    Response,
    Sampling,
    Source,
    Span,
    Speaker,
    Utterance,
)

SOURCE = Source(corpus="c", version="1", licence="CC0-1.0", attribution="someone")


def candidate(**changes: object) -> Candidate:
    fields: dict[str, object] = {
        "audio_id": "c/1/en/x",
        "entry": 0,
        "audio_path": "x.flac",
        "transcript": "hello",
        "language": "en",
        "speaker": Speaker(),
        "corpus_split": None,
        "source": SOURCE,
    }
    return Candidate(**fields | changes)


def utterance(**changes: int) -> Utterance:
    sizes = {"sampling_rate": 16_000, "num_channels": 1, "num_samples": 8_000} | changes
    return Utterance(
        audio_id="c/1/en/x",
        entry=0,
        sha256="0" * 64,
        pcm_sha256="1" * 64,
        codec="flac/pcm_16",
        transcript="hello",
        language="en",
        speaker=Speaker(),
        corpus_split=None,
        source=SOURCE,
        **sizes,
    )


RECORDS = sorted(set(records.__all__) - {"PASSES", "Pass", "Reason"})


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_frozen_and_name_their_fields(name):
    record = getattr(records, name)
    options = record.__dataclass_params__
    assert options.frozen
    assert "__slots__" in vars(record)
    assert all(field.kw_only for field in dataclasses.fields(record))


@pytest.mark.parametrize("audio_id", ["", " c/1/x", "c/1/x\n", "\t"])
def test_an_audio_id_with_outer_space_is_refused(audio_id):
    with pytest.raises(ValueError, match="audio_id must be non-empty without outer space"):
        candidate(audio_id=audio_id)


def test_a_split_that_does_not_exist_is_refused_with_the_id():
    with pytest.raises(ValueError, match=r"c/1/en/x: corpus_split must be one of"):
        candidate(corpus_split="dev")


@pytest.mark.parametrize("split", [None, "train", "validation", "test"])
def test_the_splits_that_exist_are_taken(split):
    assert candidate(corpus_split=split).corpus_split == split


@pytest.mark.parametrize("field", ["num_samples", "sampling_rate", "num_channels"])
def test_an_utterance_without_sound_is_refused(field):
    with pytest.raises(ValueError, match=r"c/1/en/x: samples, rate and channels must be positive"):
        utterance(**{field: 0})


def test_duration_is_samples_over_rate():
    assert utterance().duration_s == 0.5


def test_an_answer_of_no_tokens_can_not_be_asked_for():
    with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
        Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=0)


@pytest.mark.parametrize("reason", ["stop", "length", "abort"])
def test_a_response_ends_with_stop_or_length(reason):
    def make() -> Response:
        return Response(
            request_id="r",
            text="",
            token_ids=(),
            finish_reason=reason,
            num_prompt_tokens=1,
            num_response_tokens=0,
            num_cached_tokens=None,
            mean_logprob=None,
        )

    if reason == "abort":
        with pytest.raises(ValueError, match=r"r: finish_reason must be one of .* got 'abort'"):
            make()
    else:
        assert make().finish_reason == reason


@pytest.mark.parametrize(
    ("ids", "logprobs"),
    [
        (((1,), (2,)), None),
        (((1,),), ((-0.5,),)),
        (((1,), (2,)), ((-0.5,), (-0.5, -1.0))),
        (((1,), (2, 3)), ((-0.5,), (-0.5, -1.0))),
    ],
)
def test_the_likeliest_tokens_are_one_list_for_each_token_all_of_one_length(ids, logprobs):
    with pytest.raises(ValueError, match="r: top_token_ids and top_logprobs must be one list"):
        Response(
            request_id="r",
            text="",
            token_ids=(1, 2),
            finish_reason="stop",
            num_prompt_tokens=1,
            num_response_tokens=2,
            num_cached_tokens=None,
            mean_logprob=None,
            top_token_ids=ids,
            top_logprobs=logprobs,
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "text"}, "a text span must have text and no audio"),
        ({"type": "text", "text": "x", "audio_index": 0}, "a text span must have text"),
        ({"type": "audio", "start_sample": 0, "num_samples": 1}, "must name its clip"),
        ({"type": "audio", "audio_index": 0, "num_samples": 1}, "must name its clip"),
        ({"type": "audio", "audio_index": 0, "start_sample": 0}, "must name its clip"),
        (
            {"type": "audio", "audio_index": 0, "start_sample": 0, "num_samples": 0},
            "must name its clip",
        ),
        (
            {
                "type": "audio",
                "audio_index": 0,
                "start_sample": 0,
                "num_samples": 1,
                "supervised": True,
            },
            "can't be supervised",
        ),
        ({"type": "units"}, "must be text or audio, got 'units'"),
    ],
)
def test_spans_that_contradict_themselves_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Span(**fields)


def test_spans_that_are_whole_are_taken():
    assert Span(type="text", text="").text == ""
    assert Span(type="audio", audio_index=0, start_sample=0, num_samples=1).num_samples == 1


def test_reasons_are_distinct_snake_case_words():
    values = [reason.value for reason in Reason]
    assert len(set(values)) == len(values)
    assert all(reason.value == reason.name.lower() for reason in Reason)


def test_every_error_of_ours_is_one_that_the_command_line_catches():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) == 12
    assert all(issubclass(kind, SllmDataError) and kind.__doc__ for kind in kinds)


def test_a_rejection_quotes_what_it_found_on_one_printable_line():
    rejection = Rejection(
        row_id="r",
        audio_id=None,
        step="generate",
        reason=Reason.REFUSED_BY_ENGINE,
        detail="it said: no\n\x1b[31m" + "x" * 1_000,
    )
    assert rejection.detail.startswith(r"it said: no\n\x1b[31mxxx")
    assert len(rejection.detail) == 500
