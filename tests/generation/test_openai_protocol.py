"""Whatever a server sends is an answer, a rejection, or Malformed: nothing else gets through."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.generation.openai_client import retry_after
from sllm_data.generation.openai_protocol import Malformed, bounded, error_detail, read_answer
from sllm_data.records import Rejection, Response

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
PLACES = st.dictionaries(
    st.integers(0, 9).map("token_id:{}".format) | st.text(max_size=9),
    st.floats(-9, 0) | st.floats(),
    max_size=3,
)
ANSWERS = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries(
                {"finish_reason": st.sampled_from(["stop", "length", "abort", "other"]) | JSON},
                optional={
                    "text": JSON,
                    "message": st.fixed_dictionaries({"content": JSON}) | JSON,
                    "token_ids": st.lists(st.integers(0, 9)) | JSON,
                    "logprobs": st.fixed_dictionaries(
                        {"token_logprobs": JSON},
                        optional={"top_logprobs": st.lists(PLACES, max_size=3) | JSON},
                    )
                    | JSON,
                },
            ),
            max_size=2,
        ),
        "usage": st.fixed_dictionaries(
            {"prompt_tokens": st.integers(0, 9) | JSON},
            optional={"completion_tokens": JSON, "prompt_tokens_details": JSON},
        ),
    }
)


@given(document=JSON | ANSWERS, count=st.integers(0, 2))
def test_any_json_is_an_answer_a_rejection_or_malformed(make_request, document, count):
    try:
        answer = read_answer(make_request(), document, top_logprobs=count)
    except Malformed:
        return
    assert isinstance(answer, Response | Rejection)
    if isinstance(answer, Response):
        assert answer.mean_logprob is None or math.isfinite(answer.mean_logprob)
        assert (answer.top_logprobs is None) == (count == 0)
        for place in answer.top_logprobs or ():
            assert len(place) == count
            assert all(math.isfinite(logprob) and logprob <= 0 for logprob in place)


@given(content=st.binary(max_size=200) | st.just(b"[" * 60_000))
def test_any_bytes_have_a_detail_of_one_bounded_line(content):
    detail = error_detail(content)
    assert len(detail) <= 300
    assert len(detail.splitlines()) <= 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"error": "no"}', "no"),
        (b'{"message": "no"}', "no"),
        (b'{"object": "error", "code": 3}', '{"object": "error", "code": 3}'),
        (b"[1]", "[1]"),
        (b"", "without a word"),
        (b'{"error": {"message": " "}}', "without a word"),
    ],
)
def test_the_detail_is_the_servers_message_where_there_is_one(content, expected):
    assert error_detail(content) == expected


@given(text=st.text())
def test_bounding_twice_is_bounding_once(text):
    assert bounded(bounded(text)) == bounded(text)


@given(header=st.none() | st.text(max_size=40))
def test_any_retry_after_is_a_time_or_nothing(header):
    wait = retry_after(header)
    assert wait is None or wait >= 0


def test_retry_after_may_be_seconds_or_a_date():
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert retry_after("7") == 7
    assert retry_after("0\x1d") == 0
    assert 25 < retry_after(format_datetime(soon, usegmt=True)) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 -0000") == 0
    assert retry_after("soon") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": {"prompt_tokens": 2**31}},
        {"choices": [{"finish_reason": "stop", "token_ids": [2**31]}]},
        {"choices": [{"finish_reason": "stop", "logprobs": {"token_logprobs": [-1e308] * 2}}]},
    ],
)
def test_numbers_that_no_table_has_room_for_are_no_answer(make_request, changes):
    document = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
    assert isinstance(read_answer(make_request(), document), Response)
    with pytest.raises(Malformed):
        read_answer(make_request(), document | changes)


def test_a_detail_holds_nothing_that_moves_a_terminal():
    assert error_detail(b'{"error": "no\\u001b[31m\\ud800"}') == r"no\x1b[31m\ud800"


def test_a_year_of_twenty_digits_is_no_retry_after():
    assert retry_after(f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT") is None
