"""Records become rows and rows become the same records again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.records import Message, Request, Response, Sampling, Source, Speaker
from sllm_data.shards import TABLES, read_part, write_part
from sllm_data.steps.rows import (
    canonical,
    request_from,
    request_row,
    response_from,
    response_row,
    source_from,
    speaker_from,
)

MODEL = {"model": "m", "revision": "r", "chat_template_sha256": "c"}
texts = st.text(max_size=6)
small = st.integers(0, 2**15 - 1)
requests = st.builds(
    Request,
    audio_part=small,
    draw_index=small,
    seed=st.integers(0, 2**31 - 1),
    messages=st.lists(st.builds(Message, role=texts, content=texts), max_size=3).map(tuple),
    prompt_token_ids=st.lists(small, max_size=4).map(tuple),
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        top_p=st.floats(0, 1),
        top_k=small,
        max_tokens=st.integers(1, 999),
        stop=st.lists(texts, max_size=2).map(tuple),
    ),
    **{
        name: texts
        for name, field in Request.__dataclass_fields__.items()
        if field.type is str or field.type == "str"
    },
)
responses = st.builds(
    Response,
    request_id=texts,
    text=texts,
    token_ids=st.lists(small, max_size=4).map(tuple),
    finish_reason=st.sampled_from(["stop", "length"]),
    num_prompt_tokens=small,
    num_response_tokens=small,
    num_cached_tokens=st.none() | small,
    mean_logprob=st.none() | st.floats(-9, 0, width=32),
)


@given(requests)
def test_a_request_comes_back_from_its_row(request_):
    row = request_row(request_, model=MODEL)
    assert request_from(row) == request_
    assert row.keys() == set(TABLES["requests"].names())


@given(responses)
def test_a_response_comes_back_from_its_row(response):
    assert response_from(response_row(response)) == response
    assert response_row(response).keys() <= set(TABLES["responses"].names())


@given(st.lists(requests, max_size=3))
def test_requests_come_back_from_a_part(tmp_path_factory, made):
    root = tmp_path_factory.getbasetemp()
    rows = (request_row(request, model=MODEL) for request in made)
    write_part(root, "requests.parquet", rows, table=TABLES["requests"], identity="i")
    assert [request_from(r) for r in read_part(root / "requests.parquet").to_pylist()] == made


@given(st.dictionaries(texts, texts, max_size=3), st.randoms())
def test_canonical_json_is_one_text_for_one_mapping(value, chance):
    items = list(value.items())
    chance.shuffle(items)
    assert canonical(dict(items)) == canonical(value)
    assert json.loads(canonical(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [({}, "{}"), ({"to": "de"}, '{"to":"de"}'), ({"b": "ü", "a": 1}, '{"a":1,"b":"ü"}')],
)
def test_canonical_json_has_sorted_keys_and_no_spaces(value, text):
    assert canonical(value) == text


def test_structs_come_back_as_records():
    fields = {"id": "1", "gender": None, "age": None, "accent": None, "emotion": None}
    assert speaker_from(fields) == Speaker(id="1")
    source = {"corpus": "c", "version": "1", "licence": "CC0-1.0", "attribution": "x"}
    assert source_from(source) == Source(**source)
