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


def nested(values, *, places: int, width: int):
    place = st.lists(values, min_size=width, max_size=width).map(tuple)
    return st.lists(place, min_size=places, max_size=places).map(tuple)


@st.composite
def likeliest(draw):
    """Token ids of an answer, with the likeliest at the place of each, or without."""
    places, width = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    ids = draw(st.lists(small, min_size=places, max_size=places).map(tuple))
    if not width:
        return {"token_ids": ids}
    return {
        "token_ids": ids,
        "top_token_ids": draw(nested(small, places=places, width=width)),
        "top_logprobs": draw(nested(st.floats(-9, 0, width=32), places=places, width=width)),
    }


responses = st.builds(
    lambda told, **fields: Response(**told, **fields),
    likeliest(),
    request_id=texts,
    text=texts,
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


@given(st.lists(responses, max_size=3))
def test_responses_come_back_from_a_part(tmp_path_factory, made):
    root = tmp_path_factory.getbasetemp()
    beside = dict.fromkeys(("request_key", "engine", "engine_version", "prompt_mode"), "x")
    rows = (response_row(response) | beside | {"determinism": "exact"} for response in made)
    write_part(root, "responses.parquet", rows, table=TABLES["responses"], identity="i")
    assert [response_from(r) for r in read_part(root / "responses.parquet").to_pylist()] == made


def test_a_response_of_before_there_were_likeliest_tokens_has_none():
    row = response_row(
        Response(
            request_id="r",
            text="x",
            token_ids=(1,),
            finish_reason="stop",
            num_prompt_tokens=1,
            num_response_tokens=1,
            num_cached_tokens=None,
            mean_logprob=None,
        )
    )
    del row["top_token_ids"], row["top_logprobs"]
    assert response_from(row).top_logprobs is None


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
