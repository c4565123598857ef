"""A whole run over a small corpus with the scripted engine: what comes out and what is said."""

import json
from pathlib import Path

import duckdb
import pytest
from datasets import load_dataset
from steps_datasets import build, digests, rows

from sllm_data.errors import ConfigError, OutputError, RejectedError, ShardError
from sllm_data.files import output_lock
from sllm_data.shards import read_manifest
from sllm_data.steps import Progress, run_step


@pytest.fixture(scope="module")
def finished(tmp_path_factory, configured) -> Path:
    root = tmp_path_factory.mktemp("finished") / "dataset"
    build(configured(root))
    return root


def test_every_utterance_read_is_a_row_or_a_rejection(finished):
    listed = {row["audio_id"] for row in rows(finished, "candidates")}
    stored = {row["audio_id"] for row in rows(finished, "audio", ["audio_id"])}
    rejected = {row["audio_id"] for row in rows(finished, "rejections/ingest")}

    assert stored | rejected == listed
    assert not stored & rejected


def test_every_stored_clip_has_one_index_row(finished):
    stored = [row["audio_id"] for row in rows(finished, "audio", ["audio_id"])]
    indexed = [row["audio_id"] for row in rows(finished, "index")]

    assert indexed == stored


def test_every_request_has_a_response_or_a_rejection(finished):
    asked = [row["request_id"] for row in rows(finished, "requests/main")]
    answered = [row["request_id"] for row in rows(finished, "responses/main")]
    refused = [row["row_id"] for row in rows(finished, "rejections/generate.main")]

    assert sorted(answered + refused) == sorted(asked)
    assert len(set(asked)) == len(asked)


def test_every_response_is_a_sample_or_a_rejection(finished):
    answered = {row["request_id"].partition(":")[0] for row in rows(finished, "responses/main")}
    samples = [row["sample_id"] for row in rows(finished, "samples", ["sample_id"])]
    rejected = [row["row_id"] for row in rows(finished, "rejections/assemble")]

    assert sorted(samples + rejected) == sorted(answered)


def test_the_flaws_of_a_release_are_named(finished):
    reasons = {row["reason"] for row in rows(finished, "rejections")}

    assert {"audio_missing", "silent", "empty_transcript", "duplicate_audio"} <= reasons


def test_the_same_audio_meets_several_tasks(finished):
    tasks: dict[str, set[str]] = {}
    for row in rows(finished, "samples", ["audio_refs", "task"]):
        tasks.setdefault(row["audio_refs"][0]["audio_id"], set()).add(row["task"])

    assert any(len(names) >= 2 for names in tasks.values())


def test_twins_differ_only_in_content_and_wording(finished):
    for row in rows(finished, "samples"):
        user = next(turn for turn in row["messages"] if turn["role"] == "user")
        kinds = [span["type"] for span in user["content"]]
        twin = next(m["content"] for m in row["text_messages"] if m["role"] == "user")

        assert kinds.count("audio") == 1
        assert row["transcript_prepared"] in twin
        assert row["text_messages"][-1] == {"role": "assistant", "content": row["response"]}
        assert row["messages"][-1]["content"][0]["text"] == row["response"]


def test_only_answers_are_supervised(finished):
    for row in rows(finished, "samples", ["messages"]):
        for turn in row["messages"]:
            for span in turn["content"]:
                assert span["supervised"] == (turn["role"] == "assistant")


def test_transcription_answers_with_the_transcript_itself(finished):
    found = [row for row in rows(finished, "samples") if row["task"] == "transcription"]

    assert found
    assert all(row["response"] == row["transcript"] for row in found)
    assert all(row["generator"]["engine"] == "none" for row in found)


def test_nobody_is_heard_in_two_splits(finished):
    split_of: dict[str, set[str]] = {}
    for row in rows(finished, "samples", ["speakers", "source", "split"]):
        speaker = f"{row['source']['corpus']}/{row['speakers'][0]['id']}"
        split_of.setdefault(speaker, set()).add(row["split"])

    assert all(len(splits) == 1 for splits in split_of.values())
    assert {"train", "validation", "test"} == set().union(*split_of.values())


def test_held_out_wordings_stay_out_of_train(finished):
    for row in rows(finished, "samples", ["split", "eval_group"]):
        assert row["split"] != "train" or row["eval_group"] == "train"


def test_translation_is_never_into_the_own_language(finished):
    for row in rows(finished, "requests/main"):
        if row["task"] == "translation":
            assert json.loads(row["task_params"])["to"] != row["audio_id"].split("/")[2]


def test_spans_cover_the_stored_samples(finished):
    lengths = {r["audio_id"]: r["num_samples"] for r in rows(finished, "audio")}
    for row in rows(finished, "samples", ["audio_refs", "messages"]):
        for turn in row["messages"]:
            for span in turn["content"]:
                if span["type"] == "audio":
                    audio_id = row["audio_refs"][span["audio_index"]]["audio_id"]
                    assert (span["start_sample"], span["num_samples"]) == (0, lengths[audio_id])


def test_two_runs_are_the_same_to_the_byte(finished, tmp_path, configured):
    build(configured(tmp_path / "again"))

    assert digests(tmp_path / "again") == digests(finished)


def test_processes_make_the_same_bytes_as_one(finished, tmp_path, configured):
    build(configured(tmp_path / "many", runner={"kind": "processes", "workers": 2}))

    assert digests(tmp_path / "many") == digests(finished)


def test_a_second_run_finds_every_step_done(finished, configured):
    before = digests(finished)
    reports = build(configured(finished))

    assert all(report.was_done for report in reports)
    assert digests(finished) == before


def test_manifest_digests_are_those_of_the_files(finished):
    on_disk = digests(finished)
    for path in (finished / "manifest").glob("*.json"):
        manifest = read_manifest(path)
        for part in manifest.parts:
            assert on_disk[part.file] == part.sha256


def test_datasets_loads_samples_and_plays_audio(finished, tmp_path):
    samples = load_dataset(str(finished), "samples", split="train", cache_dir=str(tmp_path))
    audio = load_dataset(str(finished), "audio", split="train", cache_dir=str(tmp_path))

    assert len(samples) == len(rows(finished, "samples", ["sample_id"]))
    played = audio[0]["audio"].get_all_samples()
    assert played.data.shape[1] == audio[0]["num_samples"]


def test_duckdb_joins_samples_with_their_audio(finished):
    found = duckdb.sql(
        f"SELECT count(*) FROM '{finished}/samples/*.parquet' s "
        f"JOIN '{finished}/audio/*.parquet' a ON a.audio_id = s.audio_refs[1].audio_id"
    ).fetchall()

    assert found == [(len(rows(finished, "samples", ["sample_id"])),)]


def test_a_step_before_its_input_says_what_to_run(tmp_path, configured):
    with pytest.raises(ShardError, match="the step ingest must be finished first"):
        run_step(configured(tmp_path / "d"), "index", Progress(None))


def test_an_unknown_step_names_the_known_ones(tmp_path, configured):
    with pytest.raises(ConfigError, match="step must be one of candidates, ingest"):
        run_step(configured(tmp_path / "d"), "polish", Progress(None))


def test_a_locked_output_is_refused(tmp_path, configured):
    with (
        output_lock(tmp_path / "d"),
        pytest.raises(OutputError, match="another run is writing this folder"),
    ):
        build(configured(tmp_path / "d"))


def test_a_changed_identity_field_is_refused_with_what_differs(finished, configured):
    with pytest.raises(OutputError, match=r"seed: 1 -> 2; choose another output"):
        build(configured(finished, seed=2))


def test_operational_fields_may_change(finished, configured):
    reports = build(configured(finished, max_rejected_fraction=0.6))

    assert all(report.was_done for report in reports)


def test_too_many_rejections_stop_a_step_with_their_reasons(tmp_path, configured):
    config = configured(tmp_path / "d", max_rejected_fraction=0.01)

    with pytest.raises(RejectedError, match=r"candidates rejected .*audio_missing 2"):
        build(config)


def test_parts_without_run_yaml_are_not_taken_over(tmp_path, finished, configured):
    part = tmp_path / "d/audio/part-00000.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes((finished / "audio/part-00000.parquet").read_bytes())

    with pytest.raises(OutputError, match=r"holds parts but no run\.yaml"):
        build(configured(tmp_path / "d"))


def test_the_manifest_says_how_far_the_rows_are_from_the_weights(finished):
    balance = json.loads(read_manifest(finished / "manifest/assemble.json").extra["balance"])

    assert sum(share["asked"] for share in balance.values()) == pytest.approx(1)
    assert sum(share["rows"] for share in balance.values()) == pytest.approx(1)
    assert sum(share["response_tokens"] for share in balance.values()) == pytest.approx(1)
