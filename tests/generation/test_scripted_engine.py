"""The scripted engine answers at once, exactly, and in the order it is told."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import EngineError
from sllm_data.generation import ScriptedConfig, start_engine
from sllm_data.generation.scripted_engine import ScriptedEngine, load_script
from sllm_data.records import Message


def scripted(**options) -> ScriptedEngine:
    return ScriptedEngine(ScriptedConfig(engine="scripted", **options))


def test_echo_repeats_the_last_paragraph_and_upper_shouts_it(make_request, ask):
    request = make_request(text="Repeat this:\n\nhello there")
    assert ask(scripted(function="echo"), [request])["r:main"].text == "hello there"
    assert ask(scripted(function="upper"), [request])["r:main"].text == "HELLO THERE"


@given(seed=st.integers(0, 2**31 - 1), text=st.text(max_size=60))
def test_task_gives_one_answer_for_one_seed_and_prompt(make_request, ask, seed, text):
    request = make_request(text=text, seed=seed)
    first, second = (ask(scripted(function="task"), [request]) for _ in range(2))
    assert first == second
    assert first["r:main"].text


def test_task_gives_different_answers_for_different_seeds(make_request, ask):
    requests = [make_request(f"r{seed}", seed=seed, text="a b c d e f g h") for seed in range(9)]
    assert len({response.text for response in ask(scripted(), requests).values()}) > 5


def test_lengths_are_words_and_an_answer_is_cut_after_max_tokens(make_request, ask):
    request = make_request(text="one  two three", max_tokens=2, ids=())
    response = ask(scripted(function="echo"), [request])["r:main"]
    assert (response.text, response.finish_reason) == ("one  two", "length")
    assert (response.num_prompt_tokens, response.num_response_tokens) == (3, 2)
    assert response.token_ids == ()


def test_an_answer_ends_before_a_stop_string(make_request, ask):
    request = make_request(text="one two END three", stop=("END",))
    response = ask(scripted(function="echo"), [request])["r:main"]
    assert (response.text, response.finish_reason) == ("one two ", "stop")


@pytest.mark.parametrize("order", ["submitted", "reversed", "shuffled"])
@given(hold=st.integers(0, 9), count=st.integers(0, 20))
def test_every_request_comes_back_once_whatever_is_held(make_request, ask, order, hold, count):
    engine = scripted(order=order, hold=hold, max_in_flight=7)
    requests = [make_request(f"r{k}") for k in range(count)]
    assert set(ask(engine, requests)) == {request.request_id for request in requests}


def test_held_requests_wait_while_others_come_in(make_request):
    engine = scripted(hold=2)
    for k in range(3):
        engine.submit(make_request(f"r{k}"))
    assert [answer.request_id for answer in engine.receive()] == ["r0:main"]
    assert [answer.request_id for answer in engine.receive()] == ["r1:main"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("submitted", [0, 1, 2, 3]), ("reversed", [3, 2, 1, 0]), ("shuffled", [0, 1, 2, 3])],
)
def test_answers_come_in_the_order_that_is_asked_for(make_request, order, expected):
    engine = scripted(order=order)
    for k in range(4):
        engine.submit(make_request(f"r{k}"))
    received = [int(answer.request_id[1]) for answer in engine.receive()]
    assert (sorted(received) if order == "shuffled" else received) == expected


def test_nothing_comes_back_where_nothing_was_submitted_or_all_was_dropped(make_request):
    engine = scripted(latency_s=0.01)
    assert engine.receive() == []
    engine.submit(make_request())
    engine.close()
    assert engine.receive() == []


def test_a_function_of_ones_own_is_found_by_module_and_name():
    assert load_script("random:choice") is random.choice


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("nonsense", "must be one of echo, upper, task or module:name"),
        (":name", "must be one of"),
        ("no_such_module_at_all:name", "can't be imported"),
        ("random:no_such_function", "can't be imported"),
        ("sys:path", "must be a function"),
    ],
)
def test_a_function_that_is_none_is_refused_by_name(function, says):
    with pytest.raises(EngineError, match=says):
        scripted(function=function)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("math:sqrt", "r:main: .* raised TypeError"),
        ("builtins:len", "r:main: .* raised TypeError"),
    ],
)
def test_a_function_that_fails_ends_the_run_and_names_the_request(make_request, function, says):
    engine = scripted(function=function)
    engine.submit(make_request())
    with pytest.raises(EngineError, match=says):
        engine.receive()


def test_a_function_that_returns_no_text_ends_the_run(make_request):
    engine = scripted(function="builtins:id")
    engine.submit(make_request())
    with pytest.raises(EngineError, match=r"must return a text, got int"):
        engine.receive()


def test_the_prompt_is_counted_in_words_of_all_turns_without_token_ids(make_request, ask):
    turns = (Message(role="system", content="be brief"), Message(role="user", content="yes"))
    response = ask(scripted(), [make_request(messages=turns, ids=())])["r:main"]
    assert response.num_prompt_tokens == 3


def test_the_seam_starts_it_and_says_what_it_is():
    engine = start_engine(ScriptedConfig(engine="scripted"))
    assert (engine.name, engine.prompt_mode, engine.determinism) == (
        "scripted",
        "messages",
        "exact",
    )
