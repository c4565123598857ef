"""A judge reads instruction, transcript and answer, and rates the answer from 1 to 5.

The prompt is that of the pipeline's own judge (`prompts/judge.j2`), and so is the reading of what
it says. Any engine can be the judge; it is asked about one side at a time, and about equal
answers to one question once.

A rating is kept with `judge`: the judge's name, and a digest of what it is, of its prompt, and of
the question and the answer it rated. So a rating that stands in a file is believed only where
this judge gave it to this answer; any other is asked for again.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sllm_data.benchmark.frozen import Benchmark, Row
from sllm_data.chat import ChatRenderer
from sllm_data.documents import identity_hash, identity_of, read_document, sentence_of
from sllm_data.errors import ConfigError
from sllm_data.evaluation.predictions import Prediction
from sllm_data.filtering.judge import parse_judge
from sllm_data.generation import BackboneConfig, start_engine
from sllm_data.prompting.templates import load_template
from sllm_data.records import Message, Request, Response, Sampling
from sllm_data.seeding import hash128, seed_for
from sllm_data.steps import Progress
from sllm_data.steps.feeding import Feeder, OpenPart

_MAX_TOKENS = 8
_MAX_CHARS = 20_000  # of an answer that is shown to a judge


class _Judge(BaseModel):
    """A file that names a judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: BackboneConfig


def load_judge(path: Path) -> BackboneConfig:
    """Reads who judges: a YAML file with `backbone` as in run.yaml.

    Raises:
        ConfigError: It can't be read, or a field is unknown or out of range.
    """
    document = read_document(path)
    try:
        return _Judge.model_validate(document).backbone
    except ValidationError as error:
        raise ConfigError(f"{path}: {sentence_of(error, _Judge)}") from error


def judged(
    predictions: Sequence[Prediction],
    benchmark: Benchmark,
    judge: BackboneConfig,
    progress: Progress,
) -> list[Prediction]:
    """Returns the predictions with what the judge makes of each; None where that is not clear.

    Answers without a word are not shown to it: they are a 1. Nor are those that it rated before.

    Raises:
        ModelError: The judge can't be found.
        EngineError: It can't start, or died.
    """
    template = load_template("judge")
    who = identity_hash(identity_of(judge), template.sha256, _MAX_TOKENS, _MAX_CHARS)
    marks = [f"{judge.model_name}@{hash128(who, _key(each))}" for each in predictions]
    pairs = list(zip(predictions, marks, strict=True))
    kept = {
        _key(each): each.judge_score
        for each, mark in pairs
        if each.judge == mark and each.judge_score is not None
    }
    asked = {key: each for each in predictions if (key := _key(each)) not in kept and _says(each)}
    scores = kept | (_scores(asked, benchmark, judge, progress) if asked else {})
    return [
        replace(each, judge_score=scores.get(_key(each)) if _says(each) else 1, judge=mark)
        for each, mark in pairs
    ]


def _says(prediction: Prediction) -> bool:
    return bool(prediction.prediction.strip())


def _key(prediction: Prediction) -> str:
    return hash128(prediction.sample_id, prediction.prediction)


def _scores(
    asked: Mapping[str, Prediction],
    benchmark: Benchmark,
    judge: BackboneConfig,
    progress: Progress,
) -> dict[str, int | None]:
    template = load_template("judge")
    contents = [
        template.render(
            instruction=wording_of(benchmark.rows[each.sample_id]),
            transcript=each.heard,
            response=each.prediction[:_MAX_CHARS],
        )
        for each in asked.values()
    ]
    system = [Message(role="system", content=judge.system)] if judge.system else []
    messages = [(*system, Message(role="user", content=content)) for content in contents]
    ids, stop = _rendered(judge, messages)
    requests = [
        _request(key, each, turns, tuple(tokens), stop)
        for (key, each), turns, tokens in zip(asked.items(), messages, ids, strict=True)
    ]
    part = OpenPart(number=0, requests=requests, answers={})
    with closing(start_engine(judge)) as engine, progress.bar("judge", len(requests)) as bar:
        feeder = Feeder(
            engine,
            iter([part]),
            commit=lambda _: None,
            watch=lambda rows, now: bar.advance(rows, now.note()),
        )
        feeder.run()
    return {
        request.request_id: parse_judge(answer.text)
        for request in requests
        if isinstance(answer := part.answers.get(request.request_id), Response)
    }


def wording_of(row: Row) -> str:
    """Returns what a row asks, without what it is about: the text beside the speech."""
    spans = [
        span["text"]
        for turn in row["messages"][:-1]
        if turn["role"] == "user"
        for span in turn["content"]
        if span["type"] == "text"
    ]
    return "\n".join(text.strip() for text in spans if text.strip())


def _rendered(
    judge: BackboneConfig, messages: Sequence[Sequence[Message]]
) -> tuple[Sequence[Sequence[int]], tuple[str, ...]]:
    if judge.tokenizer_source is None:
        return [()] * len(messages), ()
    renderer = ChatRenderer.load(
        judge.tokenizer_source,
        revision=judge.tokenizer_revision,
        template_kwargs=judge.template_kwargs,
        chat_template=judge.chat_template,
    )
    return renderer.encode([tuple(turns) for turns in messages]), renderer.stop


def _request(
    key: str,
    prediction: Prediction,
    messages: tuple[Message, ...],
    ids: tuple[int, ...],
    stop: tuple[str, ...],
) -> Request:
    return Request(
        request_id=key,
        sample_id=prediction.sample_id,
        audio_part=0,
        audio_id="",
        task="judge",
        task_params="{}",
        variant="judge",
        draw_index=0,
        instruction_id="judge",
        instruction_language="en",
        template_id="judge",
        split=prediction.split,
        eval_group=prediction.eval_group,
        transcript_prepared=prediction.heard,
        target="generated",
        messages=messages,
        prompt_token_ids=ids,
        sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=_MAX_TOKENS, stop=stop),
        seed=seed_for(0, "benchmark-judge", key),
        request_key=key,
    )
