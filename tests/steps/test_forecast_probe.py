"""The probe of an engine: what it asks, for how long, and what it does where nothing comes."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from sllm_data.errors import EngineError
from sllm_data.generation import Engine, OpenaiConfig, ScriptedConfig, start_engine
from sllm_data.records import Request
from sllm_data.steps.feeding import OpenPart
from sllm_data.steps.forecast_probe import Answer, probe
from sllm_data.steps.forecast_speed import Trial
from tests.generation.conftest import Reply, ScriptedServer, build_request


def _requests(count: int) -> list[Request]:
    return [build_request(f"r{k}", max_tokens=8 + 8 * (k % 2)) for k in range(count)]


def _probe(engine: Engine, requests: list[Request], **given: Any) -> tuple[Trial, list[Answer]]:
    """In parts of 20."""
    parts = (
        OpenPart(number=start, requests=requests[start : start + 20], answers={})
        for start in range(0, len(requests), 20)
    )
    silent = {"commit": lambda _: None, "watch": lambda _: None}
    return probe(engine, parts, num_requests=len(requests), **silent | given)


def _scripted(**fields: object) -> ScriptedConfig:
    return ScriptedConfig.model_validate({"engine": "scripted", "max_in_flight": 4} | fields)


def test_a_probe_that_has_time_asks_all_and_waits_for_all():
    seen: list[int] = []
    with closing(start_engine(_scripted(order="shuffled", hold=2))) as engine:
        trial, answers = _probe(engine, _requests(40), seconds=5, watch=seen.append)

    assert sorted(answer.request_id for answer in answers) == sorted(
        request.request_id for request in _requests(40)
    )
    assert trial.answers == sum(seen) == 40
    assert trial.is_drained
    assert trial.is_full
    assert 0 < trial.full_from < trial.full_until <= trial.seconds


def test_a_probe_ends_when_its_time_is_over():
    with closing(start_engine(_scripted(latency_s=0.02))) as engine:
        trial, answers = _probe(engine, _requests(10_000), seconds=1.0)

    assert 0 < len(answers) < 10_000
    assert trial.is_drained
    assert trial.full_until - trial.full_from >= 1.0


def test_few_requests_never_fill_an_engine():
    with closing(start_engine(_scripted(max_in_flight=64))) as engine:
        trial, _ = _probe(engine, _requests(10), seconds=5)

    assert (trial.answers, trial.is_full, trial.is_drained) == (10, False, True)


def test_parts_are_committed_as_in_a_run():
    committed: list[int] = []
    with closing(start_engine(_scripted())) as engine:
        _probe(engine, _requests(50), seconds=5, commit=lambda part: committed.append(part.number))

    assert committed == [0, 20, 40]


def test_what_takes_too_long_to_come_is_not_waited_for():
    answers = iter([Reply(wait_s=0.0)] * 3 + [Reply(wait_s=60.0)] * 100)
    with closing(ScriptedServer()) as server:

        def script(_path: str, _body: object) -> Reply:
            return replace(server.good(), wait_s=next(answers).wait_s)

        server.script = script
        config = OpenaiConfig(engine="openai", model="tiny", base_url=server.url)
        with closing(start_engine(config)) as engine:
            trial, answered = _probe(engine, _requests(8), seconds=3)

    assert (len(answered), trial.is_drained) == (3, False)
    assert trial.seconds_for(30, 10.0) == 3


def test_an_engine_that_gives_no_answer_is_told():
    with closing(ScriptedServer()) as server:
        server.script = lambda _path, _body: Reply(wait_s=60.0)
        config = OpenaiConfig(engine="openai", model="tiny", base_url=server.url)
        with (
            closing(start_engine(config)) as engine,
            pytest.raises(EngineError, match=r"gave no answer in \d+ s; probe it for longer"),
        ):
            _probe(engine, _requests(2), seconds=0.5)
