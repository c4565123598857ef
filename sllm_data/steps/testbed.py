"""Builds the models of the small spoken world with the pipeline's own wordings and templates.

Each model is trained by one thread of a process of its own: so both cores of a small machine
are busy, and the files do not depend on how many there are.
"""

import multiprocessing
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

from sllm_data.errors import ModelError, OutputError, SllmDataError
from sllm_data.files import output_lock, shipped_folder, writing
from sllm_data.prompting.languages import language_name
from sllm_data.prompting.pools import Pools, load_pools
from sllm_data.prompting.templates import load_template, template_from_string
from sllm_data.runners import start_worker, starting_workers
from sllm_data.steps.progress import Bar, Progress
from sllm_data.testbed.answers import TASKS
from sllm_data.testbed.assets import Asset, Kind, as_json, read_asset, record, recorded
from sllm_data.testbed.backbone_training import (
    BackboneTraining,
    examine_folder,
    train_backbone,
)
from sllm_data.testbed.encoder import load_encoder
from sllm_data.testbed.encoder_training import EncoderTraining, examine_encoder, train_encoder
from sllm_data.testbed.lessons import SENTENCES, STORIES, Course, Layout
from sllm_data.testbed.training import Report, made_with
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES

INSTRUCTIONS = "en-testbed"
"""The language code of the world's pools."""
MARENIC = "qaa"
"""The code of the invented language: free for private use in ISO 639-2."""

Training = BackboneTraining | EncoderTraining

_EXAM_SEED = 2  # another than the trainings' own exams have
_TEMPLATES = ("instruction_first", "content_first")


def shipped_course() -> Course:
    """Returns the wordings of the shipped pools, both sides of each, in the shipped templates."""
    pools = load_pools((shipped_folder("instruction_pools"),))
    return Course(
        wordings={task: _wordings(pools, task) for task in TASKS},
        layouts=tuple(map(_layout, _TEMPLATES)),
    )


def _wordings(pools: Pools, task: str) -> tuple[str, ...]:
    # what the speech model reads beside the audio must mean something to its backbone, too
    language = language_name(MARENIC, INSTRUCTIONS)
    return tuple(
        template_from_string(instruction.id, side).render(target_language=language)
        for instruction in pools.get(task, INSTRUCTIONS).instructions
        for side in (instruction.text, instruction.audio)
    )


def _layout(name: str) -> Layout:
    template = load_template(name)
    return lambda instruction, content: template.render(instruction=instruction, content=content)


def build_models(
    root: Path, trainings: Sequence[Training], *, minutes: float, progress: Progress
) -> list[Asset]:
    """Trains models into root/backbone and root/encoder, all at once.

    One that is there already is kept, and so is one that was made when another fails.

    Args:
        root: Created where it is missing.
        trainings: Of each kind one at most.
        minutes: What each of them may take.
        progress: Shows a bar for each.

    Raises:
        ModelError: espeak-ng's library is missing, which the encoder hears.
        OutputError: The folder can't be written, is in use, or holds another model.
        RejectedError: The time ran out before the end, or a model can do too little.
    """
    with output_lock(root):
        recorded(root)  # what can't be added to is found out before the trainings, not after
        jobs = [_Job(root=root, training=training, minutes=minutes) for training in trainings]
        for job in jobs:
            if job.folder.exists():
                _must_be(job)
        _train_all([job for job in jobs if not job.folder.exists()], progress)
        return [read_asset(root, job.kind) for job in jobs]


def examine_models(root: Path, *, per_task: int, num_texts: int) -> dict[str, float]:
    """Asks the models of a folder again; returns exact shares by task, and word error rates.

    Args:
        root: What `testbed build` wrote, or the shipped ones.
        per_task: How many questions each task gets, about sentences and about stories each.
        num_texts: How many texts the encoder hears, by seen and by unseen voices each.

    Raises:
        ModelError: A model is missing or is not what it was.
    """
    course, folder = shipped_course(), read_asset(root, "backbone").folder
    exact = {
        f"{task}, exact about {name}": share
        for name, lengths in (("sentences", SENTENCES), ("stories", STORIES))
        for task, share in examine_folder(
            folder, course.exam(seed=_EXAM_SEED, per_task=per_task, lengths=lengths)
        ).items()
    }
    encoder = load_encoder(read_asset(root, "encoder").folder)
    return exact | {
        f"word error rate, {name}": examine_encoder(
            encoder, voices, num_texts=num_texts, seed=_EXAM_SEED
        )
        for name, voices in (("seen voices", WORLD_VOICES), ("unseen voices", HELD_OUT_VOICES))
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    training: Training
    minutes: float

    @property
    def kind(self) -> Kind:
        return "backbone" if isinstance(self.training, BackboneTraining) else "encoder"

    @property
    def folder(self) -> Path:
        return self.root / self.kind


def _must_be(job: _Job) -> None:
    try:
        there = read_asset(job.root, job.kind)
    except ModelError as error:
        raise OutputError(f"{error}; or remove {job.folder}") from error
    if there.training != as_json(job.training):
        raise OutputError(
            f"{job.folder}: must be trained as asked, found another training; choose another "
            "folder"
        )


def _train_all(jobs: Sequence[_Job], progress: Progress) -> None:
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    workers: list[BaseProcess] = []
    talks: dict[Connection, tuple[_Job, Bar]] = {}
    with lifeline, held, progress.bars({job.kind: job.training.steps for job in jobs}) as bars:
        for job, bar in zip(jobs, bars, strict=True):
            hears, tells = context.Pipe(duplex=False)
            workers.append(context.Process(target=_work, args=(job, tells, lifeline)))
            with starting_workers():
                workers[-1].start()
            tells.close()
            talks[hears] = job, bar
        try:
            _listen(talks)
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()


def _listen(talks: dict[Connection, tuple[_Job, Bar]]) -> None:
    """Moves the bars until all workers are done, then raises what failed first."""
    failures: list[SllmDataError] = []
    while talks:
        for talk in cast("list[Connection]", wait(list(talks))):
            job, bar = talks[talk]
            try:
                news = talk.recv()
            except EOFError:
                news = OutputError(
                    f"{job.folder}: the process that trained it died, most likely killed for "
                    "memory; run the same command again"
                )
            if isinstance(news, tuple):
                bar.advance(*news)
                continue
            if isinstance(news, SllmDataError):
                failures.append(news)
            del talks[talk]
            talk.close()
            if isinstance(news, dict):
                _keep(job, news)
    if failures:
        raise failures[0]


def _keep(job: _Job, figures: dict[str, object]) -> None:
    with writing(job.folder):
        _unfinished(job).rename(job.folder)
    asset = Asset(
        folder=job.folder,
        training=as_json(job.training),
        figures=figures,
        made_with=made_with(),
    )
    record(job.root, asset)


def _work(job: _Job, tells: Connection, lifeline: Connection) -> None:
    """Trains one model; tells of steps (how many, a note), then its figures or an error."""
    start_worker(lifeline)

    def report(steps: int, note: str) -> None:
        tells.send((steps, note))

    try:
        with writing(job.folder):
            shutil.rmtree(_unfinished(job), ignore_errors=True)
            tells.send(_trained(job, report))
    except SllmDataError as error:
        tells.send(error)


def _trained(job: _Job, report: Report) -> dict[str, object]:
    folder, training, minutes = _unfinished(job), job.training, job.minutes
    if isinstance(training, EncoderTraining):
        return asdict(train_encoder(folder, training, minutes=minutes, report=report))
    course = shipped_course()
    return asdict(train_backbone(folder, course, training, minutes=minutes, report=report))


def _unfinished(job: _Job) -> Path:
    return job.root / f".{job.kind}.tmp"
