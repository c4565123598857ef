"""The passes of a small dataset with the real engine, each for some seconds only.

Each pass is planned by the real step, so its requests are those of a run. Of its answers only
as many come as the probe's time allows; each then stands for several, and so do the rows of
later passes that are made of it. That factor is carried along as the *weight* of a request.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from sllm_data.records import Rejection, Request, Response
from sllm_data.steps.answering import Job, commit_part, engine_columns, open_part
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.engines import Engines
from sllm_data.steps.feeding import OpenPart, Row
from sllm_data.steps.forecast_numbers import factors
from sllm_data.steps.forecast_parts import write_parts
from sllm_data.steps.forecast_probe import probe
from sllm_data.steps.forecast_speed import Trial
from sllm_data.steps.generate import generate_step
from sllm_data.steps.parts import Records, finish_parts
from sllm_data.steps.plan import plan
from sllm_data.steps.progress import Progress
from sllm_data.steps.reuse import prepare_reuse


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request of a pass over the sampled utterances."""

    audio_id: str
    task: str
    weight: float
    """How many requests of the sampled utterances it stands for."""
    prompt_tokens: int
    state: Literal["transcript", "known", "left"]
    """transcript: is its answer; known: answered already; left: an engine must be asked."""
    response_tokens: int | None
    """Of the probe's answer; None where it gave none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PassOfSample:
    """All requests of one pass, and how the engine answered some of them."""

    turn: str
    asked: tuple[Asked, ...]
    trial: Trial | None
    """None where nothing is left to ask."""

    @property
    def seen(self) -> float:
        """Share of the sampled utterances' requests that are really there."""
        weights = sum(row.weight for row in self.asked)
        return len(self.asked) / weights if weights else 1.0


@dataclass(kw_only=True, slots=True)
class Weights:
    """How many answers each answer stands for, by what later passes know of it."""

    questions: dict[tuple[str, str], float] = field(default_factory=dict)
    """By audio_id and task: of the pass `question`."""
    answers: dict[str, float] = field(default_factory=dict)
    """By sample_id: of the pass `main`."""
    followups: dict[str, float] = field(default_factory=dict)
    """By sample_id: of the pass `followup`."""

    def of(self, turn: str, request: Request) -> float:
        """The weight of a request, by the answer that it was made of."""
        match turn:
            case "main":
                return self.questions.get((request.audio_id, request.task), 1.0)
            case "followup" | "judge":
                return self.answers[request.sample_id]
            case "followup_answer":
                return self.followups[request.sample_id]
            case _:
                return 1.0

    def keep(self, turn: str, request: Request, weight: float) -> None:
        """Keeps the weight of an answer, where later passes ask for it."""
        match turn:
            case "question":
                self.questions[request.audio_id, request.task] = weight
            case "main":
                self.answers[request.sample_id] = weight
            case "followup":
                self.followups[request.sample_id] = weight


class PassProbe:
    """Probes the passes of one small dataset, in their order.

    Args:
        dataset: The small one.
        seconds: To measure for, in each pass.
        part_share: What a part of the real dataset is of the small one.
        progress: Where to show bars.
    """

    def __init__(
        self, dataset: Dataset, *, seconds: float, part_share: float, progress: Progress
    ) -> None:
        self.weights = Weights()
        self.start_seconds = 0.0
        """How long the engine took to start."""
        self._dataset = dataset
        self._seconds = seconds
        self._part_share = part_share
        self._progress = progress

    def passes(self, turns: Sequence[str]) -> Iterator[PassOfSample]:
        """Plans and probes the passes; the engine is ended with the last.

        Raises:
            SllmDataError: What the steps raise, but for too many rejections.
        """
        with closing(Engines()) as engines:
            for turn in turns:
                plan(self._dataset, turn, self._progress)
                yield self._pass(turn, engines)

    def _pass(self, turn: str, engines: Engines) -> PassOfSample:
        step = generate_step(self._dataset, turn)
        job = Job(
            turn=turn,
            document=self._dataset.config.model_dump_json(),
            step=step,
            reuse=prepare_reuse(self._dataset, turn),
        )
        part = open_part(self._dataset.root, job, 0)
        known = frozenset(part.answers)
        trial, mark = self._ask(job, part, engines)

        def make(_: Sequence[int]) -> Iterator[Records]:
            yield commit_part(self._dataset.root, job, part, mark)

        finish_parts(self._dataset, step, range(1), make)
        asked = tuple(
            _asked(request, part, known=known, weight=self.weights.of(turn, request))
            for request in part.requests
        )
        self._keep(turn, part, asked)
        return PassOfSample(turn=turn, asked=asked, trial=trial)

    def _ask(self, job: Job, part: OpenPart, engines: Engines) -> tuple[Trial | None, Row]:
        """Lets the engine answer what is not known, and puts the answers into the part."""
        left = [r.request_id for r in part.requests if r.request_id not in part.answers]
        if not left:
            return None, {}
        folder = self._dataset.work / "probe"
        number = write_parts(self._dataset, folder, job, left, share=self._part_share)
        job = replace(job, reuse=None)
        first = open_part(folder, job, 0)  # as in a run, the engine is asked as soon as it is up
        parts = chain([first], (open_part(folder, job, k) for k in range(1, number)))
        with engines.open(self._dataset.config.backbone) as engine:
            self.start_seconds = self.start_seconds or engines.start_seconds
            mark = engine_columns(engine)

            def commit(done: OpenPart) -> None:
                commit_part(folder, job, done, mark)

            with self._progress.bar(f"probe {job.turn}", len(left)) as bar:
                trial, answers = probe(
                    engine,
                    parts,
                    num_requests=len(left),
                    seconds=self._seconds,
                    commit=commit,
                    watch=bar.advance,
                )
        if not trial.is_drained:
            engines.close()  # what is still in flight must not answer in the next pass
        for answer in answers:
            if isinstance(answer, Rejection):
                part.rejections.append(answer)
            else:
                part.answers[answer.request_id] = answer
        return trial, mark

    def _keep(self, turn: str, part: OpenPart, asked: Sequence[Asked]) -> None:
        """Spreads the weight of what was not answered over what was."""
        refused = {rejection.row_id for rejection in part.rejections}
        left: dict[str, float] = defaultdict(float)
        done: dict[str, float] = defaultdict(float)
        for request, row in zip(part.requests, asked, strict=True):
            if row.state == "left":
                left[row.task] += row.weight
                if request.request_id in part.answers or request.request_id in refused:
                    done[row.task] += row.weight
        stands_for = factors(left, done)
        for request, row in zip(part.requests, asked, strict=True):
            factor = stands_for.get(row.task, 0.0) if row.state == "left" else 1.0
            if request.request_id in part.answers:
                self.weights.keep(turn, request, row.weight * factor)


def _asked(request: Request, part: OpenPart, *, known: frozenset[str], weight: float) -> Asked:
    answer = part.answers.get(request.request_id)
    state: Literal["transcript", "known", "left"] = "left"
    if request.request_id in known:
        state = "transcript" if request.target == "transcript" else "known"
    words = sum(len(message.content.split()) for message in request.messages)
    return Asked(
        audio_id=request.audio_id,
        task=request.task,
        weight=weight,
        prompt_tokens=len(request.prompt_token_ids) or words,
        state=state,
        response_tokens=answer.num_response_tokens if isinstance(answer, Response) else None,
    )
