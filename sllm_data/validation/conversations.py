"""A sample by itself: its spans, its text twin and its response are one conversation.

Only columns of the row are read, so this holds for parts of other programs too. The two
sides word an instruction differently ("this text", "this recording"): that is not compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sllm_data.filtering.measures import copy_rate, find_loop
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, is_sampled
from sllm_data.words import words

RULES = (
    Rule(
        name="sample_spans",
        level=2,
        meaning="the last turn is the assistant's, what is supervised in it is the response, and "
        "no other role is supervised; stretches of one clip stand in order without overlap",
    ),
    Rule(
        name="sample_twin",
        level=2,
        meaning="the text twin has the turns of the spans: the same text where nothing is heard, "
        "and in `instruct` and `interleaved` the transcript as prepared where the clip is",
    ),
    Rule(
        name="sample_measures",
        level=2,
        meaning="copy rate and repetition are what the filters measure on response and transcript",
        foreign="off",
    ),
)

_Row = dict[str, Any]  # Any: values of the samples table

_COLUMNS = (
    "sample_id",
    "kind",
    "cut",
    "messages",
    "text_messages",
    "response",
    "transcript_prepared",
    "quality",
)
_KINDS = ("instruct", "interleaved")
_BATCH_ROWS = 1_000
_TOLERANCE = 1e-5  # they are stored in 32 bits


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplesJob:
    """One part of samples/."""

    root: Path
    part: Part
    share: float
    keep: int
    measured: bool
    """Whether the measures are those of this package's filters."""
    repetition_min_words: int | None
    """As the filters were configured; None where nobody knows."""


def sample_jobs(subject: Subject) -> Iterator[SamplesJob]:
    """Yields the jobs of a dataset."""
    for part in subject.parts_of("samples"):
        yield SamplesJob(
            root=subject.root,
            part=part,
            share=subject.sample,
            keep=subject.keep,
            measured=not subject.foreign,
            repetition_min_words=(
                subject.config.filters.repetition_min_words if subject.config else None
            ),
        )


def check_samples(job: SamplesJob) -> Tally:
    """Checks the rows of one part."""
    tally = Tally(job.keep)
    num_looked = 0
    with noting_damage(job.part, tally):
        for batch in batches(job.root / job.part.file, _COLUMNS, _BATCH_ROWS):
            for row in batch.to_pylist():
                if is_sampled(str(row["sample_id"]), job.share):
                    tally.add_all(_findings(job, row))
                    num_looked += 1
    tally.look(2, "samples", rows=num_looked, of_rows=job.part.rows)
    return tally


def _findings(job: SamplesJob, row: _Row) -> Iterator[Finding]:
    faults = [("sample_spans", *fault) for fault in _spans(row)]
    faults += [("sample_twin", *fault) for fault in _twin(row)]
    if job.measured:
        faults += [("sample_measures", *fault) for fault in _measures(job, row)]
    for rule, column, value, message in faults:
        yield Finding(
            rule=rule,
            part=job.part.file,
            row=shown(row["sample_id"]),
            column=column,
            value=shown(value),
            message=message,
        )


_Fault = tuple[str, object, str]
"""Column, value, message."""


def _spans(row: _Row) -> Iterator[_Fault]:
    turns = row["messages"] or []
    last = turns[-1] if turns else {"role": None, "content": []}
    if last["role"] != "assistant":
        yield "messages", last["role"], "the last turn must be the assistant's"
        return
    trained = "".join(s["text"] or "" for s in last["content"] if s["supervised"])
    if trained != row["response"]:
        yield (
            "messages",
            trained,
            f"what is supervised in the last turn must be the response, {shown(row['response'])}",
        )
    heard = [span for turn in turns for span in turn["content"] if span["type"] == "audio"]
    for before, span in pairwise(heard):
        if span["audio_index"] == before["audio_index"] and (
            span["start_sample"] < before["start_sample"] + before["num_samples"]
        ):
            place = f"sample {span['start_sample']}"
            yield "messages", place, "must begin where the stretch before it has ended, or later"
    for turn in turns:
        if turn["role"] != "assistant" and any(s["supervised"] for s in turn["content"]):
            yield "messages", turn["role"], "only turns of the assistant may be supervised"


def _twin(row: _Row) -> Iterator[_Fault]:
    turns, twin = row["messages"] or [], row["text_messages"] or []
    roles = [turn["role"] for turn in turns]
    twin_roles = [turn["role"] for turn in twin]
    if roles != twin_roles:
        yield (
            "text_messages",
            " ".join(map(str, twin_roles)),
            f"must have the roles of messages: {' '.join(map(str, roles))}",
        )
        return
    for place, (turn, read) in enumerate(zip(turns, twin, strict=True)):
        content = read["content"] or ""
        text = "".join(span["text"] or "" for span in turn["content"])
        if all(span["type"] == "text" for span in turn["content"]):
            if content != text:
                yield "text_messages", content, f"turn {place} must be {shown(text)}, by messages"
        elif (
            row["kind"] in _KINDS
            and "/" not in (row.get("cut") or "")
            and (row["transcript_prepared"] or "") not in content
        ):
            prepared = shown(row["transcript_prepared"])
            yield "text_messages", content, f"turn {place} must hold the transcript, {prepared}"


def _measures(job: SamplesJob, row: _Row) -> Iterator[_Fault]:
    quality = row["quality"] or {}
    response, heard = words(row["response"] or ""), words(row["transcript_prepared"] or "")
    measured: dict[str, float | None] = {}
    if quality.get("copy_rate") is not None:
        measured["copy_rate"] = copy_rate(response, heard)
    if quality.get("repetition") is not None and job.repetition_min_words is not None:
        measured["repetition"] = find_loop(
            row["response"] or "", response, min_words=job.repetition_min_words
        ).share
    for name, value in measured.items():
        if value is None or not abs(quality[name] - value) <= _TOLERANCE:
            yield f"quality.{name}", quality[name], f"must be {value}, by response and transcript"
