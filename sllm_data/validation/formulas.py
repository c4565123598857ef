"""What follows from other columns of a request: its ids, its seed, its key, its model.

The formulas are written down here a second time, on purpose: a change in the planner that
would give old rows new ids shows as a finding on every dataset made before. The token ids of
a prompt follow from its messages by the model's tokenizer alone, which is not loaded here.
"""

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sllm_data.records.request import WRITTEN_PARAMS
from sllm_data.seeding import hash128, seed_for
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, is_sampled

RULES = (
    Rule(
        name="request_ids",
        level=2,
        meaning="`request_id` is `<sample_id>:<pass>`, and `sample_id` the hash of clip, recipe, "
        "kind, task, parameters that were drawn, wording, variant and draw",
        foreign="off",
    ),
    Rule(
        name="request_seed",
        level=2,
        meaning="the seed of a request follows from the run's seed and its sample_id",
        foreign="off",
    ),
    Rule(
        name="request_key",
        level=2,
        meaning="`request_key` is the hash of prompt, sampling, seed, model, chat template and "
        "numeric mode, and empty where the transcript is the answer",
        foreign="off",
    ),
    Rule(
        name="request_model",
        level=2,
        meaning="model and revision are those that the plan was made for",
        foreign="off",
    ),
)

_Row = dict[str, Any]  # Any: values of the requests table

_COLUMNS = (
    "request_id",
    "sample_id",
    "audio_id",
    "task",
    "task_params",
    "variant",
    "draw_index",
    "instruction_id",
    "target",
    "messages",
    "prompt_token_ids",
    "sampling",
    "seed",
    "request_key",
    "model",
    "revision",
    "chat_template_sha256",
)
_BATCH_ROWS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestsJob:
    """One part of requests/<pass>/, and what the run's configuration adds to its rows."""

    root: Path
    part: Part
    share: float
    keep: int
    seed: int
    recipe: str
    kind: str
    numeric_mode: str
    planned: tuple[str, str] | None
    """Model and revision that the plan's manifest names."""

    @property
    def turn(self) -> str:
        """The pass."""
        return self.part.folder.partition("/")[2]


def request_jobs(subject: Subject) -> Iterator[RequestsJob]:
    """Yields the jobs of a dataset; none where no run.yaml says what it was made with."""
    if subject.config is None:
        return
    for part in subject.parts_of("requests"):
        plan = subject.manifests.get(f"plan.{part.folder.partition('/')[2]}")
        facts = plan.extra if plan else {}
        yield RequestsJob(
            root=subject.root,
            part=part,
            share=subject.sample,
            keep=subject.keep,
            seed=subject.config.seed,
            recipe=subject.config.recipe_name,
            kind=subject.config.kind,
            numeric_mode=subject.config.backbone.numeric_mode,
            planned=(facts["model"], facts["revision"]) if "model" in facts else None,
        )


def check_requests(job: RequestsJob) -> Tally:
    """Checks the rows of one part."""
    tally = Tally(job.keep)
    num_looked = 0
    with noting_damage(job.part, tally):
        for batch in batches(job.root / job.part.file, _COLUMNS, _BATCH_ROWS):
            for row in batch.to_pylist():
                if is_sampled(str(row["sample_id"]), job.share):
                    tally.add_all(_findings(job, row))
                    num_looked += 1
    tally.look(2, "requests", rows=num_looked, of_rows=job.part.rows)
    return tally


def _findings(job: RequestsJob, row: _Row) -> Iterator[Finding]:
    for rule, column, expected in _expected(job, row):
        if row[column] != expected:
            yield Finding(
                rule=rule,
                part=job.part.file,
                row=shown(row["request_id"]),
                column=column,
                value=shown(row[column]),
                message=f"must be {expected!r}, by the columns that it follows from",
            )


def _expected(job: RequestsJob, row: _Row) -> Iterator[tuple[str, str, object]]:
    """Yields rule, column and the value that it must have."""
    sample_id = row["sample_id"]
    yield "request_ids", "request_id", f"{sample_id}:{job.turn}"
    match job.turn:
        case "main":
            yield "request_ids", "sample_id", _sample_id(job, row)
            stage = "request"
        case "restore":
            yield "request_ids", "sample_id", hash128(row["audio_id"], "restore")
            stage = job.turn
        case "question":
            of_task = hash128(row["audio_id"], "question", row["task"])
            yield "request_ids", "sample_id", of_task
            stage = job.turn
        case _:
            stage = job.turn
    yield "request_seed", "seed", seed_for(job.seed, stage, sample_id)
    generated = row["target"] == "generated"
    yield "request_key", "request_key", _request_key(job, row) if generated else ""
    if job.planned is not None:
        model, revision = job.planned
        yield "request_model", "model", model
        yield "request_model", "revision", revision


def _sample_id(job: RequestsJob, row: _Row) -> str:
    return hash128(
        row["audio_id"],
        job.recipe,
        job.kind,
        row["task"],
        _drawn(row["task_params"]),
        row["instruction_id"],
        row["variant"],
        row["draw_index"],
    )


def _drawn(params: str) -> str:
    """The parameters without what the backbone wrote."""
    if not any(f'"{name}"' in params for name in WRITTEN_PARAMS):
        return params
    kept = {k: value for k, value in json.loads(params).items() if k not in WRITTEN_PARAMS}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _request_key(job: RequestsJob, row: _Row) -> str:
    """Hashes the prompt (its ids, or its messages where there are none), then the rest."""
    digest = blake2b(digest_size=16)
    if row["prompt_token_ids"]:
        digest.update(array("i", row["prompt_token_ids"]).tobytes())
    else:
        for message in row["messages"]:
            digest.update(f"\x1e{message['role']}\x1f{message['content']}".encode())
    sampling = json.dumps(
        row["sampling"], sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    rest = (
        sampling,
        row["seed"],
        row["model"],
        row["revision"],
        row["chat_template_sha256"],
        job.numeric_mode,
    )
    digest.update("\x1f".join(map(str, rest)).encode())
    return digest.hexdigest()
