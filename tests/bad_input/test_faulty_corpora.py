"""A run over corpora with every fault in them: it ends, and says what it rejected and why."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from sllm_data.records import Message, Reason
from tests.bad_input.conftest import Command, FaultyRun
from tests.bad_input.hostile import HOSTILE, HUNDRED_THOUSAND
from tests.bad_input.page import table
from tests.chat.conftest import Loaded

Row = dict[str, Any]


def _rows(run: FaultyRun, folder: str) -> list[Row]:
    paths = sorted((run.root / folder).glob("**/part-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def rejections(faulty_run: FaultyRun) -> list[Row]:
    """What was rejected before anything was answered."""
    found = _rows(faulty_run, "rejections")
    return [row for row in found if row["step"] != "assemble"]


def test_every_fault_is_rejected_under_its_reason_and_nothing_else_is(faulty_run, rejections):
    planted = [
        (fault.step.split(".")[0], str(fault.reason), fault.row_id)
        for fault in faulty_run.planted.faults
    ]
    found = [(row["step"], row["reason"], row["row_id"]) for row in rejections]
    assert sorted(found) == sorted(planted)


def test_the_page_quotes_the_reason_and_the_detail_of_every_fault(faulty_run, rejections):
    by_id = {(row["row_id"], row["reason"]): row for row in rejections}
    said = []
    for fault in faulty_run.planted.faults:
        row = by_id[fault.row_id, str(fault.reason)]
        said.append([fault.name, row["step"], row["reason"], row["detail"]])
    assert table("Rows") == said


def test_every_good_utterance_became_a_sample(faulty_run):
    samples = _rows(faulty_run, "samples")
    assert {row["audio_refs"][0]["audio_id"] for row in samples} == set(faulty_run.planted.good)


def test_stats_prints_what_was_rejected_and_why(faulty_run, command: Command):
    said = command("stats", faulty_run.root)
    counts = Counter((fault.step, str(fault.reason)) for fault in faulty_run.planted.faults)
    assert said.status == 0
    for (step, reason), number in counts.items():
        (line,) = (line for line in said.out.splitlines() if line.split()[1:4:2] == [step, reason])
        assert line.split()[5] == str(number)


def test_stats_as_json_holds_the_same_counts(faulty_run, command: Command):
    counts: dict[str, Counter[str]] = {}
    for fault in faulty_run.planted.faults:
        counts.setdefault(fault.step, Counter())[str(fault.reason)] += 1
    figures = json.loads(command("stats", faulty_run.root, "--json").out)
    figures["rejections"].pop("assemble")
    assert figures["rejections"] == counts


# hostile transcripts


def test_a_hostile_transcript_is_kept_as_it_was_read(faulty_run):
    found = {
        row["audio_refs"][0]["audio_id"]: row["transcript"] for row in _rows(faulty_run, "samples")
    }
    for audio_id, text in faulty_run.planted.hostile.items():
        assert found[audio_id] == text


def test_no_transcript_yields_a_control_token(faulty_run, load_family):
    control = load_family("qwen").renderer._controls
    prompts = {
        control.sequence(row["prompt_token_ids"])
        for row in _rows(faulty_run, "requests/main")
        if row["target"] == "generated"
    }
    assert len(prompts) == 1


def test_each_transcript_is_read_whole_by_the_backbone(faulty_run, load_family):
    renderer = load_family("qwen").renderer
    asked = [row for row in _rows(faulty_run, "requests/main") if row["target"] == "generated"]
    hostile = [row for row in asked if row["audio_id"] in faulty_run.planted.hostile]
    assert len(hostile) == 2 * len(HOSTILE)
    for row in hostile:
        # its normaliser composes letters and marks
        decoded = renderer.decode(row["prompt_token_ids"])
        assert renderer._backend.normalizer.normalize_str(row["transcript_prepared"]) in decoded


@pytest.mark.parametrize(
    "name", ["llama", "mistral", "mistral_plain", "mistral_later", "mistral_tekken", "vicuna"]
)
def test_the_same_prompts_are_as_safe_in_the_style_of_another_model(
    faulty_run, load_family: Callable[[str], Loaded], name
):
    renderer = load_family(name).renderer
    conversations = [
        [Message(**message) for message in row["messages"]]
        for row in _rows(faulty_run, "requests/main")
        if row["target"] == "generated"
    ]
    sequences = {renderer._controls.sequence(ids) for ids in renderer.encode(conversations)}
    assert len(sequences) == 1


def test_an_answer_that_repeats_a_control_token_is_no_sample(faulty_run):
    leaked = [row for row in _rows(faulty_run, "rejections") if row["step"] == "assemble"]
    names = {row["audio_id"] for row in leaked}
    texts = {faulty_run.planted.hostile[audio_id] for audio_id in names}
    assert {row["reason"] for row in leaked} == {Reason.LEAKED_TEMPLATE}
    assert texts == {HOSTILE["chat tokens of Qwen"]}


def test_a_transcript_of_100_000_characters_is_one(faulty_run):
    assert len(HUNDRED_THOUSAND) == 100_000
    assert len(HUNDRED_THOUSAND.strip()) == 100_000
