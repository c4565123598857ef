"""The openai engine against a real server on a loopback socket that misbehaves on purpose."""

import json
import threading
import time
from contextlib import closing

import pytest

from sllm_data.errors import EngineError
from sllm_data.generation import OpenaiConfig, start_engine
from sllm_data.records import Reason, Rejection


@pytest.fixture
def config(server):
    """Impatient, so that tests are fast; with a tokenizer, so that token ids may be sent."""

    def build(**changes) -> OpenaiConfig:
        fields = {
            "base_url": server.url,
            "tokenizer": "some/tokenizer",
            "backoff_s": 0.01,
            "max_backoff_s": 0.1,
            "start_timeout_s": 60.0,
            "request_timeout_s": 30.0,
            "retries": 3,
        }
        return OpenaiConfig(engine="openai", model="tiny", **(fields | changes))

    return build


@pytest.fixture
def started(config):
    """Starts an engine and closes it after the test."""
    engines = []

    def start(**changes):
        engines.append(start_engine(config(**changes)))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def test_token_ids_are_sent_where_the_server_counts_them(server, started, make_request, ask):
    server.script = lambda _path, _body: server.good(
        "well said", token_ids=[8, 9], logprobs={"token_logprobs": [-1.0, -2.0, None]}
    )
    engine = started(logprobs=True)
    response = ask(engine, [make_request(ids=(5, 6, 7), stop=("END",), top_k=4)])["r:main"]
    assert (response.text, response.token_ids, response.mean_logprob) == (
        "well said",
        (8, 9),
        -1.5,
    )
    assert (response.num_prompt_tokens, response.num_response_tokens) == (3, 2)
    assert response.num_cached_tokens == 1
    path, body = server.bodies[0]
    assert (path, body["prompt"], body["stop"], body["top_k"]) == (
        "completions",
        [5, 6, 7],
        ["END"],
        4,
    )
    assert (body["seed"], body["temperature"], body["max_tokens"]) == (1, 0.0, 16)
    assert (engine.prompt_mode, engine.version) == ("ids", "tests")


@pytest.mark.parametrize("how", ["refused", "absent", "stumbles", "miscounted"])
def test_messages_are_sent_where_token_ids_do_not_work(server, started, make_request, ask, how):
    replies = {
        "refused": server.bad(400, "prompt must be a string"),
        "absent": server.bad(404, "no such path"),
        "stumbles": server.bad(500, "internal error"),
        "miscounted": server.good(prompt_tokens=11),
    }
    server.probe = lambda path, _body: server.good() if path.startswith("chat") else replies[how]
    engine = started(template_kwargs={"enable_thinking": False})
    assert engine.prompt_mode == "messages"
    ask(engine, [make_request(text="hi there")])
    path, body = server.bodies[0]
    assert path == "chat/completions"
    assert body["messages"] == [{"role": "user", "content": "hi there"}]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_messages_are_sent_where_there_is_no_tokenizer(server, started, make_request, ask):
    server.script = lambda _path, _body: server.good(
        None, logprobs={"content": [{"logprob": -0.5}]}
    )
    engine = started(tokenizer=None, logprobs=True, max_tokens_field="max_completion_tokens")
    response = ask(engine, [make_request(ids=())])["r:main"]
    assert (engine.prompt_mode, response.mean_logprob) == ("messages", -0.5)
    assert server.bodies[0][1]["max_completion_tokens"] == 16


def test_a_server_that_does_not_know_return_token_ids_is_asked_without_it(server, started):
    server.probe = lambda _path, body: (
        server.bad(400, "unknown field") if "return_token_ids" in body else server.good()
    )
    assert started().prompt_mode == "ids"


def test_vllms_own_fields_are_explicit_where_the_server_is_vllm(
    server, started, make_request, ask
):
    server.models.content = server.models.content.replace(b"tests", b"vllm")
    engine = started()
    ask(engine, [make_request()])
    body = server.bodies[0][1]
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)
    assert engine.version == "vllm 0.99"


@pytest.mark.parametrize(("status", "content"), [(404, b"{}"), (200, b"[]"), (200, b"<html>")])
def test_a_vllm_that_keeps_its_version_to_itself_is_no_problem(server, started, status, content):
    server.models.content = server.models.content.replace(b"tests", b"vllm")
    server.version.status, server.version.content = status, content
    assert started().version == "vllm"


def _likeliest(*places, **more):
    """An answer with so many tokens, and the likeliest at the place of each."""
    told = [{f"token_id:{token}": logprob for token, logprob in place.items()} for place in places]
    logprobs = {"token_logprobs": [-1.0] * len(places), "top_logprobs": told}
    return {"token_ids": [8] * len(places), "logprobs": logprobs} | more


def test_the_likeliest_tokens_are_sorted_and_a_sampled_one_beside_them_is_left_out(
    server, started, make_request, ask
):
    server.probe = lambda _path, _body: server.good(**_likeliest({1: -0.5, 2: -1.0}))
    # as vLLM tells them: the sampled token first, one more where it is not among the likeliest
    server.script = lambda _path, _body: server.good(
        "well said", **_likeliest({8: -9.0, 5: -0.5, 6: -1.0}, {8: -2.0, 7: -0.25})
    )
    response = ask(started(top_logprobs=2), [make_request()])["r:main"]
    assert response.top_token_ids == ((5, 6), (7, 8))
    assert response.top_logprobs == ((-0.5, -1.0), (-0.25, -2.0))
    assert response.mean_logprob == -1.0
    _, body = server.bodies[0]
    assert (body["logprobs"], body["return_tokens_as_token_ids"]) == (2, True)


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({}, "must tell the token ids of its answer"),
        ({"token_ids": [8]}, "must tell the likeliest tokens of each of 1 places, it told none"),
        (_likeliest({1: -0.5}), "must tell 2 tokens of each place, it told 1"),
        (_likeliest({1: 0.5, 2: -1.0}), "must be at most 0, got 0.5"),
        (_likeliest({1: -0.5, 10**9: -1.0}), "must name tokens by their ids"),
        (_likeliest({1: -0.5, 2: -1.0}, token_ids=[8, 9]), "each of 2 places, .* of 1 places"),
        (
            {"token_ids": [8], "logprobs": {"top_logprobs": [{" a": -1.0, " b": -2.0}]}},
            r"must name tokens by their ids \(token_id:5\), .* got ' a'",
        ),
    ],
)
def test_a_server_that_does_not_tell_the_likeliest_tokens_stops_the_start(
    server, config, choice, says
):
    server.probe = lambda _path, _body: server.good("hello", **choice)
    with pytest.raises(EngineError, match=rf"{says}.*, for backbone\.top_logprobs"):
        start_engine(config(top_logprobs=2))


def test_a_request_without_token_ids_is_rejected_in_ids_mode(started, make_request, ask):
    rejection = ask(started(), [make_request(ids=())])["r:main"]
    assert (rejection.reason, rejection.audio_id) == (Reason.REFUSED_BY_ENGINE, "corpus/1/x/r")


def test_a_busy_server_is_asked_again_when_it_says(server, started, make_request, ask):
    server.replies(server.bad(429, "slow down", Retry_After="1"), server.good("at last"))
    start = time.monotonic()
    assert ask(started(), [make_request()])["r:main"].text == "at last"
    assert time.monotonic() - start >= 1


FAULTS = {
    "status 500": lambda server: server.bad(500, "oh"),
    "status 503": lambda server: server.bad(503, "loading"),
    "html": lambda server: _with(server.good(), content=b"<html>gateway</html>"),
    "not an answer": lambda server: _with(server.good(), content=b'{"choices": 3}'),
    "no choices": lambda server: _with(
        server.good(), content=b'{"choices": [], "usage": {"prompt_tokens": 1}}'
    ),
    "half an answer": lambda server: _with(server.good(), length=10_000),
    "nested beyond reason": lambda server: _with(server.good(), content=b"[" * 100_000),
    "wrong encoding": lambda server: _with(server.good(), headers={"content-encoding": "gzip"}),
    "aborted": lambda server: server.good(finish_reason="abort"),
    "silence": lambda server: _with(server.good(), wait_s=10.0),
    "endless": lambda server: _with(server.good(), content=b" " * (33 * 2**20)),
}


def _with(reply, **changes):
    for name, value in changes.items():
        setattr(reply, name, value)
    return reply


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_attempt_is_tried_again(server, started, make_request, ask, fault):
    server.replies(FAULTS[fault](server), server.good("at last"))
    engine = started(request_timeout_s=2.0)
    assert ask(engine, [make_request()])["r:main"].text == "at last"


@pytest.mark.parametrize("fault", ["status 500", "html", "half an answer"])
def test_a_server_that_keeps_failing_ends_the_run_in_one_sentence(
    server, started, make_request, ask, fault
):
    server.replies(FAULTS[fault](server))
    engine = started(retries=2)
    with pytest.raises(EngineError, match=r"gave up on r:main after 3 attempts") as caught:
        ask(engine, [make_request()])
    assert "run the same command again" in str(caught.value)
    assert len(server.bodies) == 3
    with pytest.raises(EngineError, match=r"gave up"):
        engine.submit(make_request())
    with pytest.raises(EngineError, match=r"gave up"):
        engine.receive()


def test_a_refusal_is_a_rejection_and_the_others_go_on(server, started, make_request, ask):
    long = "x" * 5_000
    replies = {
        "a": server.bad(400, long),
        "b": server.bad(422, "maximum context length is 256"),
        "c": server.good(),
    }
    server.script = lambda _path, body: replies[body["stop"][0]]
    answers = ask(started(), [make_request(name, stop=(name,)) for name in replies])
    assert answers["a:main"].reason is Reason.REFUSED_BY_ENGINE
    assert len(answers["a:main"].detail) == 300
    assert answers["b:main"].reason is Reason.PROMPT_TOO_LONG
    assert answers["c:main"].text == "hello"


def test_an_answer_that_the_server_withheld_is_a_rejection(server, started, make_request, ask):
    server.replies(server.good(finish_reason="content_filter"))
    rejection = ask(started(), [make_request()])["r:main"]
    assert isinstance(rejection, Rejection)
    assert "content_filter" in rejection.detail


def test_a_refusal_in_plain_text_keeps_its_words(server, started, make_request, ask):
    server.replies(_with(server.good(), status=400, content=b"no thanks"))
    assert ask(started(), [make_request()])["r:main"].detail == "no thanks"


def test_a_missing_right_ends_the_run_at_once_and_names_the_variable(
    server, started, make_request, ask
):
    server.replies(server.bad(401, "bad key"))
    engine = started(api_key_env="MY_KEY")
    with pytest.raises(EngineError, match=r"status 401: bad key; set MY_KEY"):
        ask(engine, [make_request()])
    assert len(server.bodies) == 1


def test_a_model_that_goes_away_ends_the_run_at_once(server, started, make_request, ask):
    server.replies(server.bad(404, "unloaded"))
    with pytest.raises(EngineError, match=r"status 404: unloaded; check backbone.base_url"):
        ask(started(), [make_request()])


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_shows_no_models_stops_the_start(server, config, status):
    server.models = server.bad(status, "no")
    with pytest.raises(EngineError, match=f"status {status}: no"):
        start_engine(config())


def test_a_model_that_is_not_served_stops_the_start_and_names_those_that_are(server, config):
    rows = [{"id": f"model-{k}"} for k in range(12)]
    server.models.content = json.dumps({"data": rows}).encode()
    with pytest.raises(EngineError, match=r"'tiny'; it serves model-0, .* and 2 more"):
        start_engine(config())


@pytest.mark.parametrize("content", [b"[]", b'{"data": 1}', b"<html>"])
def test_a_list_of_models_that_is_none_stops_the_start(server, config, content):
    server.models.content = content
    with pytest.raises(EngineError, match=r"no server answers after 0.2 s"):
        start_engine(config(start_timeout_s=0.2))


def test_no_server_at_all_stops_the_start_in_time(config, server):
    server.close()
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"ConnectError"):
        start_engine(config(start_timeout_s=0.2))
    assert time.monotonic() - start < 60


def test_a_server_that_takes_no_request_stops_the_start_with_its_words(server, config):
    server.probe = lambda _path, _body: server.bad(400, "temperature is fixed")
    with pytest.raises(EngineError, match=r"with ids or messages .* temperature is fixed"):
        start_engine(config())
    with pytest.raises(EngineError, match=r"with ids for"):
        start_engine(config(prompt_mode="ids"))


@pytest.mark.parametrize("content", [b"{}", b"nothing"])
def test_a_first_answer_that_is_none_is_tried_again_and_given_up(server, config, content):
    server.probe = lambda _path, _body: _with(server.good(), content=content)
    with pytest.raises(EngineError, match=r"gave up on a first request after 2 attempts"):
        start_engine(config(retries=1))


def test_a_first_request_without_the_right_stops_the_start(server, config):
    server.probe = lambda _path, _body: server.bad(403, "not for you")
    with pytest.raises(EngineError, match=r"status 403: not for you"):
        start_engine(config())


def test_a_server_that_sends_elsewhere_stops_the_start(server, config):
    server.models = _with(server.good(), status=307, headers={"location": "http://other/"})
    with pytest.raises(EngineError, match=r"status 307 to 'http://other/'"):
        start_engine(config())


def test_a_redirect_to_no_address_stops_the_start(server, config):
    server.models = _with(server.good(), status=302, headers={"location": 'http:"rows"//else/v1'})
    with pytest.raises(EngineError, match=r"a redirect to no address"):
        start_engine(config())


def test_a_base_url_that_no_client_takes_stops_the_start(config):
    with pytest.raises(EngineError, match=r"base_url"):
        start_engine(config(base_url="http://localhost:port/v1"))


def test_answers_come_in_the_order_in_which_they_are_ready(server, started, make_request):
    is_fast_here = threading.Event()

    def script(_path, body):
        if body["stop"] == ["slow"]:
            is_fast_here.wait(60)
        return server.good()

    server.script = script
    engine = started()
    for name in ("slow", "fast"):
        engine.submit(make_request(name, stop=(name,)))
    received = []
    while len(received) < 2:
        received += [answer.request_id for answer in engine.receive()]
        if received:
            is_fast_here.set()
    assert received == ["fast:main", "slow:main"]


def test_the_key_comes_from_the_environment_and_stays_out_of_errors(
    server, started, monkeypatch, make_request, ask
):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    server.replies(server.bad(403, "no"))
    with pytest.raises(EngineError) as caught:
        ask(started(), [make_request()])
    assert server.headers[0]["Authorization"] == "Bearer secret-1"
    assert "secret" not in str(caught.value)


def test_no_key_is_sent_where_there_is_none(server, started, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    started()
    assert "Authorization" not in server.headers[0]


def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(config, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "geheim-ö")
    with pytest.raises(EngineError, match=r"OPENAI_API_KEY must hold") as caught:
        start_engine(config())
    assert "geheim" not in str(caught.value)


def test_a_proxy_for_the_outer_world_is_not_used_on_this_machine(started, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert started().prompt_mode == "ids"


def test_nothing_in_flight_returns_at_once_and_slow_answers_after_a_while(
    server, started, make_request
):
    may_answer = threading.Event()

    def script(_path, _body):
        may_answer.wait(60)
        return server.good()

    server.script = script
    engine = started()
    assert engine.receive() == []
    engine.submit(make_request())
    assert engine.receive() == []
    may_answer.set()
    received = []
    while not received:
        received = engine.receive()
    assert len(received) == 1


def test_closing_drops_what_is_in_flight_and_may_be_done_twice(server, config, make_request):
    server.script = lambda _path, _body: _with(server.good(), wait_s=60.0)
    start = time.monotonic()
    with closing(start_engine(config())) as engine:
        engine.submit(make_request())
        time.sleep(0.2)
    engine.close()
    assert time.monotonic() - start < 50


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_vllms_own_server_answers_token_ids_with_token_ids(vllm_server, make_request, ask):
    config = OpenaiConfig(
        engine="openai", model="tiny", base_url=vllm_server, tokenizer="x", top_logprobs=4
    )
    with closing(start_engine(config)) as engine:
        requests = [make_request(f"r{k}", ids=(5, 6, 7 + k), max_tokens=8) for k in range(20)]
        answers = ask(engine, requests)
        too_long = ask(engine, [make_request(ids=(9,) * 300)])["r:main"]
    assert engine.prompt_mode == "ids"
    assert engine.version.startswith("vllm 0.")
    for response in answers.values():
        assert response.num_response_tokens == len(response.token_ids) <= 8
        assert response.num_prompt_tokens == 3
        assert response.mean_logprob < 0
        assert {len(place) for place in response.top_token_ids} == {4}
        # greedy: the likeliest is what was said
        assert tuple(place[0] for place in response.top_token_ids) == response.token_ids
        assert all(list(p) == sorted(p, reverse=True) for p in response.top_logprobs)
    assert too_long.reason is Reason.PROMPT_TOO_LONG


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_vllms_own_server_answers_messages(vllm_server, make_request, ask):
    config = OpenaiConfig(engine="openai", model="tiny", base_url=vllm_server)
    with closing(start_engine(config)) as engine:
        response = ask(engine, [make_request(max_tokens=8)])["r:main"]
    assert engine.prompt_mode == "messages"
    assert response.num_response_tokens == len(response.token_ids)
