"""The figures of a dataset come from manifests alone; what is not finished is missing."""

import json

import pytest

from sllm_data.errors import ShardError
from sllm_data.reporting import as_text, collect_stats
from sllm_data.shards import Manifest, PartRecord, write_manifest


def part(file: str, rows: int) -> PartRecord:
    return PartRecord(file=file, rows=rows, bytes=1, sha256="s", footer_sha256="f")


def write(root, step, parts, counts, **extra: str) -> None:
    manifest = Manifest(
        step=step,
        identity="i",
        inputs={},
        parts=tuple(part(file, rows) for file, rows in parts.items()),
        counts=counts,
        code_version="0",
        extra=extra,
    )
    write_manifest(root / "manifest" / f"{step}.json", manifest)


@pytest.fixture
def listed(tmp_path):
    write(
        tmp_path,
        "candidates",
        {"candidates/part-00000.parquet": 6, "rejections/candidates/part-00000.parquet": 2},
        {"rejections": {"duplicate_id": 2}},
        listed="9",
        chosen="6",
    )
    return tmp_path


@pytest.fixture
def finished(listed):
    write(
        listed,
        "ingest",
        {"audio/part-00000.parquet": 3, "audio/part-00001.parquet": 2},
        {"rows": {"en": 4, "de": 1}, "milliseconds": {"en": 7_200_000, "de": 1_800_000}},
    )
    write(
        listed,
        "plan.main",
        {"requests/main/part-00000.parquet": 8},
        {"tasks": {"intent": 6, "summary": 2}},
        balance=json.dumps({"intent": {"asked": 0.5}, "summary": {"asked": 0.5}}),
    )
    write(listed, "generate.main", {}, {"tokens": {"prompt": 1_000, "response": 250}})
    write(
        listed,
        "assemble",
        {"samples/part-00000.parquet": 5, "rejections/assemble/part-00000.parquet": 3},
        {
            "tasks": {"intent": 4, "summary": 1},
            "response_tokens": {"intent": 30, "summary": 10},
            "splits": {"train": 4, "test": 1},
            "eval_groups": {"train": 5},
            "verdicts": {"kept": 5},
            "languages": {"en": 5},
            "rejections": {"refusal": 1, "empty_response": 2},
        },
    )
    return listed


def test_a_folder_without_manifests_is_no_dataset(tmp_path):
    with pytest.raises(ShardError, match=r"must be a dataset, found no manifest/\*\.json"):
        collect_stats(tmp_path)


def test_rows_are_counted_by_table(finished):
    rows = collect_stats(finished).rows
    assert rows == {"candidates": 6, "rejections": 5, "audio": 5, "requests": 8, "samples": 5}


def test_languages_have_clips_hours_and_samples(finished):
    languages = collect_stats(finished).languages
    assert (languages["en"].clips, languages["en"].hours, languages["en"].samples) == (4, 2.0, 5)
    assert (languages["de"].clips, languages["de"].hours, languages["de"].samples) == (1, 0.5, 0)


def test_tasks_have_what_was_asked_for_and_what_came_out(finished):
    intent = collect_stats(finished).tasks["intent"]
    assert (intent.asked_share, intent.request_share) == (0.5, 0.75)
    assert (intent.sample_share, intent.token_share) == (0.8, 0.75)
    assert (intent.requests, intent.samples, intent.response_tokens) == (6, 4, 30)


def test_rejections_stand_by_step_and_reason(finished):
    assert collect_stats(finished).rejections == {
        "assemble": {"empty_response": 2, "refusal": 1},
        "candidates": {"duplicate_id": 2},
    }


def test_selection_and_tokens_are_told(finished):
    stats = collect_stats(finished)
    assert stats.selection == {"listed": 9, "chosen": 6}
    assert stats.tokens == {"prompt": 1_000, "response": 250}
    assert stats.throughput == {}


def test_an_unfinished_dataset_has_the_figures_it_can_have(listed):
    stats = collect_stats(listed)
    assert stats.steps == ("candidates",)
    assert (stats.tasks, stats.languages, stats.splits) == ({}, {}, {})
    assert "candidates listed" in as_text(stats)


def test_a_dataset_that_was_planned_but_not_answered_has_requests_only(listed):
    balance = json.dumps({"intent": {"asked": 1.0}})
    write(listed, "plan.main", {}, {"tasks": {"intent": 6}}, balance=balance)
    intent = collect_stats(listed).tasks["intent"]
    assert (intent.requests, intent.request_share, intent.samples, intent.token_share) == (
        6,
        1.0,
        0,
        0.0,
    )


def test_a_dataset_without_its_listing_has_no_selection(tmp_path):
    write(tmp_path, "ingest", {}, {})
    stats = collect_stats(tmp_path)
    assert stats.selection == {}
    assert "rejected by step" not in as_text(stats)


def test_figures_are_plain_json(finished):
    stats = collect_stats(finished)
    assert json.loads(json.dumps(stats.as_json()))["languages"]["en"]["hours"] == 2.0


def test_text_is_a_table_for_each_kind_of_figure(finished):
    blocks = as_text(collect_stats(finished)).split("\n\n")
    assert [block.split("|")[1].strip() for block in blocks] == [
        "dataset",
        "language",
        "task",
        "split",
        "eval group",
        "rejected by step",
    ]


def test_the_columns_of_a_table_are_aligned(finished):
    for block in as_text(collect_stats(finished)).split("\n\n"):
        bars = {tuple(i for i, c in enumerate(line) if c == "|") for line in block.splitlines()}
        assert len(bars) == 1


def test_the_commonest_reason_comes_first(finished):
    text = as_text(collect_stats(finished))
    assert text.index("empty_response") < text.index("refusal")


def test_figures_have_thousands_shares_and_hours(finished):
    text = as_text(collect_stats(finished))
    assert "| prompt tokens     | 1,000 |" in text
    assert "| hours of speech   |  2.50 |" in text
    assert "75.0%" in text


def _throughput(root, text: str) -> None:
    (root / "reports").mkdir()
    (root / "reports" / "generate.main.json").write_text(text)


def test_the_speed_of_the_last_run_is_shown_where_it_answered_anything(finished):
    figures = {
        "responses": 3,
        "rows_per_second": 1_234.5,
        "response_tokens_per_second": 98_765.4,
        "engine_busy_share": 0.973,
    }
    _throughput(finished, json.dumps(figures))
    text = as_text(collect_stats(finished))
    assert "1,234.5" in text
    assert "98,765" in text
    assert "97%" in text


def test_the_speed_of_a_run_that_found_all_done_is_not_shown(finished):
    _throughput(finished, json.dumps({"responses": 0}))
    assert "responses/s" not in as_text(collect_stats(finished))


def test_a_damaged_report_is_one_sentence(finished):
    _throughput(finished, "{")
    with pytest.raises(ShardError, match=r"generate\.main\.json: must be JSON .*delete it"):
        collect_stats(finished)
