"""Level 3: one fault across parts is found by its rule, with part, row, column, value."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planting import Row, Rows, as_foreign, change
from single_level import all_rows, findings, first, looked, plant, told

from sllm_data.validation import across
from sllm_data.validation.contract import Contract, TokenBounds
from sllm_data.validation.findings import Finding
from sllm_data.validation.fingerprints import _hash_of_words


@pytest.fixture
def dataset(sound: Path, copied: Callable[[Path], Path]) -> Path:
    """A dataset to plant faults in."""
    return copied(sound)


def _sample(root: Path, wanted: Callable[[Row], bool]) -> tuple[str, Row]:
    """The first sample that is wanted and the only one of its clip."""
    samples = all_rows(root, "samples")
    times = Counter(row["audio_refs"][0]["audio_id"] for _, row in samples)
    return next(
        (file, row)
        for file, row in samples
        if times[row["audio_refs"][0]["audio_id"]] == 1 and wanted(row)
    )


def _in_train(row: Row) -> bool:
    return bool(row["split"] == "train")


def _tested(row: Row) -> bool:
    return bool(row["split"] != "train")


def _change_all(root: Path, edit: Callable[[Row], object]) -> None:
    for file in sorted({file for file, _ in all_rows(root, "samples")}):

        def each(rows: Rows) -> None:
            for row in rows:
                edit(row)

        change(root, file, each)


def test_sound_dataset_has_no_finding(sound: Path) -> None:
    tally = looked(across.check, sound)
    assert not tally.counts
    assert tally.looked[3, "samples"].rows == len(all_rows(sound, "samples"))


def test_sound_foreign_samples_have_no_finding(sound: Path, tmp_path: Path) -> None:
    root = as_foreign(sound, tmp_path / "foreign", "samples")
    assert findings(across.check, root) == []


def test_folder_without_samples_has_nothing_to_ask(sound: Path, tmp_path: Path) -> None:
    root = as_foreign(sound, tmp_path / "foreign", "index")
    assert findings(across.check, root) == []


# splits


def _not_alone(root: Path) -> tuple[str, Row]:
    """A sample of train whose speaker has others there."""
    voices = Counter(
        row["speakers"][0]["id"] for _, row in all_rows(root, "samples") if _in_train(row)
    )
    return _sample(root, lambda row: _in_train(row) and voices[row["speakers"][0]["id"]] > 2)


def test_speaker_in_two_splits_of_the_samples_is_found(dataset: Path) -> None:
    file, row = _not_alone(dataset)
    plant(dataset, file, "sample_id", row["sample_id"], split="test")
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("speaker_splits", file, row["sample_id"], "speakers")]
    assert found.value == row["speakers"][0]["id"]
    assert found.message.endswith("rows in train and 1 in test")


def test_speaker_in_two_splits_of_the_index_is_found(dataset: Path) -> None:
    _, row = _not_alone(dataset)
    audio_id = row["audio_refs"][0]["audio_id"]
    file, _ = first(dataset, "index", lambda row: row["audio_id"] == audio_id)
    plant(dataset, file, "audio_id", audio_id, split="validation")
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("speaker_splits", file, audio_id, "speakers")]


def test_equal_speaker_ids_of_two_corpora_are_two_speakers(dataset: Path) -> None:
    file, row = _not_alone(dataset)
    values = {"split": "test", "source__corpus": "another"}
    plant(dataset, file, "sample_id", row["sample_id"], **values)
    assert findings(across.check, dataset) == []


def test_unknown_speaker_outside_train_is_found(dataset: Path) -> None:
    file, row = _sample(dataset, _tested)
    plant(dataset, file, "sample_id", row["sample_id"], speakers=[{"id": None}])
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("speaker_unknown", file, row["sample_id"], "speakers")]


def test_unknown_speaker_in_train_is_none(dataset: Path) -> None:
    file, row = _sample(dataset, _in_train)
    plant(dataset, file, "sample_id", row["sample_id"], speakers=[{"id": None}])
    assert findings(across.check, dataset) == []


def test_clip_in_two_splits_is_found(dataset: Path) -> None:
    _, row = _sample(dataset, _in_train)
    other_file, other = _sample(dataset, _tested)
    # the other speaker stays in his split: it is the clip alone that is in two
    refs = row["audio_refs"]
    plant(dataset, other_file, "sample_id", other["sample_id"], audio_refs=refs)
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("clip_splits", other_file, other["sample_id"], "split")]
    assert found.value == other["split"]
    assert refs[0]["audio_id"] in found.message


@pytest.mark.parametrize("spelling", [str, str.lower, "¡{}!?".format, "  {} ".format])
def test_transcript_of_train_in_test_is_reported(
    dataset: Path, spelling: Callable[[str], str]
) -> None:
    _, heard = _sample(dataset, _in_train)
    file, row = _sample(dataset, _tested)
    text = spelling(heard["transcript"])
    plant(dataset, file, "sample_id", row["sample_id"], transcript=text)
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("shared_transcripts", file, row["sample_id"], "transcript")]
    num_tested = sum(_tested(row) for _, row in all_rows(dataset, "samples"))
    assert f"so are 1 of {num_tested} rows" in found.message
    assert found.value == text


def test_shared_transcripts_within_the_contracts_bound_are_none(dataset: Path) -> None:
    _, heard = _sample(dataset, _in_train)
    file, row = _sample(dataset, _tested)
    plant(dataset, file, "sample_id", row["sample_id"], transcript=heard["transcript"])
    num_tested = sum(_tested(row) for _, row in all_rows(dataset, "samples"))
    contract = Contract(max_shared_transcripts=1 / num_tested)
    assert findings(across.check, dataset, contract) == []


@given(st.text(), st.text())
def test_equal_words_have_equal_hashes_and_no_others(one: str, other: str) -> None:
    from sllm_data.words import words

    same = _hash_of_words(one) == _hash_of_words(other)
    assert same is (words(one) == words(other))
    assert (_hash_of_words(one) is None) is (words(one) == [])


# held out


def test_held_out_wording_in_train_is_found(dataset: Path) -> None:
    _, held = first(dataset, "samples", lambda r: r["eval_group"] == "held_out_instruction")
    file, row = _sample(dataset, _in_train)
    values = {name: held[name] for name in ("instruction_id", "pool_sha256")}
    plant(dataset, file, "sample_id", row["sample_id"], **values)
    (found,) = findings(across.check, dataset)
    at = ("held_out_wording", file, row["sample_id"], "instruction_id")
    assert told([found]) == [at]
    assert found.value == held["instruction_id"]


def test_wording_that_its_pool_holds_out_is_found_without_a_row_that_says_so(
    dataset: Path,
) -> None:
    _, held = first(dataset, "samples", lambda r: r["eval_group"] == "held_out_instruction")
    _change_all(dataset, lambda row: row.update(eval_group="train"))
    found = findings(across.check, dataset)
    assert {f.rule for f in found} == {"held_out_wording", "held_out_task"}
    assert held["sample_id"] in {f.row for f in found if f.rule == "held_out_wording"}


def test_held_out_task_in_train_is_found(dataset: Path) -> None:
    file, row = _sample(dataset, _in_train)
    plant(dataset, file, "sample_id", row["sample_id"], task="summary")
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("held_out_task", file, row["sample_id"], "task")]
    assert found.value == "summary"


def test_task_that_one_row_holds_out_is_held_out_in_all(sound: Path, tmp_path: Path) -> None:
    root = as_foreign(sound, tmp_path / "foreign", "samples")
    file, row = first(root, "samples", lambda r: _tested(r) and r["eval_group"] == "train")
    plant(root, file, "sample_id", row["sample_id"], eval_group="held_out_task")
    found = findings(across.check, root)
    assert {f.rule for f in found} == {"held_out_task"}
    others = {r["sample_id"] for _, r in all_rows(root, "samples") if r["task"] == row["task"]}
    assert {f.row for f in found} == others - {row["sample_id"]}


# twice


def test_two_clips_with_the_same_samples_are_found(dataset: Path) -> None:
    kept = {row["audio_id"] for _, row in all_rows(dataset, "index") if row["kept"]}
    (_, one), (file, other), *_ = (
        (file, row) for file, row in all_rows(dataset, "audio") if row["audio_id"] in kept
    )
    plant(dataset, file, "audio_id", other["audio_id"], pcm_sha256=one["pcm_sha256"])
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("audio_twice", file, other["audio_id"], "pcm_sha256")]
    assert found.value == one["pcm_sha256"]
    assert one["audio_id"] in found.message


def test_double_that_the_index_left_out_is_none(dataset: Path) -> None:
    left_out = {row["audio_id"] for _, row in all_rows(dataset, "index") if not row["kept"]}
    _, one = first(dataset, "audio", lambda row: row["audio_id"] not in left_out)
    file, other = first(dataset, "audio", lambda row: row["audio_id"] in left_out)
    plant(dataset, file, "audio_id", other["audio_id"], pcm_sha256=one["pcm_sha256"])
    assert findings(across.check, dataset) == []


def test_sample_that_is_there_twice_is_found(dataset: Path) -> None:
    file, row = _sample(dataset, _in_train)
    change(dataset, file, lambda rows: rows.append(row | {"sample_id": "f" * 32}))
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("sample_twice", file, "f" * 32, "instruction_id")]
    assert row["sample_id"] in found.message


def test_same_clip_in_other_words_is_no_double(dataset: Path) -> None:
    file, row = _sample(dataset, _in_train)
    twin = row | {"sample_id": "f" * 32, "instruction_id": f"{row['instruction_id']}.other"}
    change(dataset, file, lambda rows: rows.append(twin))
    assert findings(across.check, dataset) == []


@pytest.mark.parametrize("column", ["pool_sha256", "template_sha256"])
def test_wording_from_two_files_is_reported(dataset: Path, column: str) -> None:
    samples = all_rows(dataset, "samples")
    times = Counter(row["instruction_id"] for _, row in samples)
    file, row = first(
        dataset, "samples", lambda r: _in_train(r) and times[r["instruction_id"]] > 2
    )
    plant(dataset, file, "sample_id", row["sample_id"], **{column: "0" * 64})
    (found,) = findings(across.check, dataset)
    assert told([found]) == [("wording_source", file, row["sample_id"], column)]
    assert found.value == "0" * 64


# answers


def _task(root: Path, name: str) -> list[tuple[str, Row]]:
    return [(file, row) for file, row in all_rows(root, "samples") if row["task"] == name]


def test_copy_rate_above_the_contracts_bound_is_found(dataset: Path) -> None:
    rates = [row["quality"]["copy_rate"] for _, row in _task(dataset, "intent")]
    contract = Contract(copy_rate={"intent": 0.0})
    (found,) = findings(across.check, dataset, contract)
    assert (found.rule, found.column) == ("copy_rate", "quality.copy_rate")
    assert found.value == f"{sum(rates) / len(rates):.3f}"
    worst = max(_task(dataset, "intent"), key=lambda at: at[1]["quality"]["copy_rate"])
    assert (found.part, found.row) == (worst[0], worst[1]["sample_id"])


def _all_answer(dataset: Path, task: str, **values: Any) -> list[Finding]:
    """Gives all rows one task and other values: enough of them for the default bounds."""

    def edit(row: Row) -> None:
        row["task"] = task
        row["generator"]["engine"] = "scripted"
        row["eval_group"] = "held_out_task" if task == "summary" else "train"
        row["quality"] = row["quality"] | {"copy_rate": values.get("copy_rate", 0.1)}
        row.update({k: v for k, v in values.items() if k != "copy_rate"})

    _change_all(dataset, edit)
    return [f for f in findings(across.check, dataset) if not f.rule.startswith("held_out")]


def test_task_whose_answers_are_copies_is_found_without_a_contract(dataset: Path) -> None:
    (found,) = _all_answer(dataset, "intent", copy_rate=0.625)
    assert (found.rule, found.value) == ("copy_rate", "0.625")
    assert "of intent must be at most 0.5" in found.message


@pytest.mark.parametrize(("task", "rate"), [("repetition", 1.0), ("keywords", 0.625)])
def test_task_that_may_reuse_the_transcript_may(dataset: Path, task: str, rate: float) -> None:
    assert _all_answer(dataset, task, copy_rate=rate) == []


@pytest.mark.parametrize(
    ("bounds", "rule"),
    [({"min": 1_000.0}, "must be at least 1000"), ({"max": 0.5}, "must be at most 0.5")],
)
def test_length_outside_the_contracts_bounds_is_found(
    dataset: Path, bounds: dict[str, float], rule: str
) -> None:
    lengths = [row["num_response_tokens"] for _, row in _task(dataset, "intent")]
    contract = Contract(response_tokens={"intent": TokenBounds(**bounds)})
    (found,) = findings(across.check, dataset, contract)
    assert (found.rule, found.column) == ("response_tokens", "num_response_tokens")
    assert rule in found.message
    extreme = min(lengths) if "min" in bounds else max(lengths)
    named = next(row for _, row in _task(dataset, "intent") if row["sample_id"] == found.row)
    assert named["num_response_tokens"] == extreme


@pytest.mark.parametrize(("length", "bound"), [(0, "at least 1;"), (220, "at most 202.5;")])
def test_task_without_answers_or_without_ends_is_found(
    dataset: Path, length: int, bound: str
) -> None:
    (found,) = _all_answer(dataset, "intent", num_response_tokens=length)
    assert (found.rule, found.value) == ("response_tokens", f"{length}.0")
    assert bound in found.message


def test_one_answer_for_everybody_is_reported(dataset: Path) -> None:
    (found,) = _all_answer(dataset, "intent", response="The intent is to inform.")
    assert (found.rule, found.column, found.value) == ("same_response", "response", "1.000")


def test_one_answer_for_one_sentence_said_often_is_none(dataset: Path) -> None:
    samples = [row for _, row in all_rows(dataset, "samples") if _in_train(row)]
    often = {row["sample_id"] for row in samples[::2]}

    def edit(row: Row) -> None:
        row["task"] = "intent"
        if row["sample_id"] in often:
            row.update(transcript="Hear, hear!", response="The intent is to agree.")

    _change_all(dataset, edit)
    contract = Contract(same_response={"intent": 0.1})
    assert [f for f in findings(across.check, dataset, contract) if "held" not in f.rule] == []


def test_answers_in_another_language_are_reported(dataset: Path) -> None:
    values = {"task_params": '{"to":"de"}', "response_language": "en"}
    (found,) = _all_answer(dataset, "translation", **values)
    assert (found.rule, found.value) == ("response_languages", "1.000")
    assert "(en " in found.message


@pytest.mark.parametrize("language", ["zh", "zh-CN", "und"])
def test_answers_in_the_language_asked_for_are_not(dataset: Path, language: str) -> None:
    values = {"task_params": '{"to":"zh-CN"}', "response_language": language}
    assert _all_answer(dataset, "translation", **values) == []


# how it is told


def test_all_findings_are_counted_and_the_first_are_kept(dataset: Path) -> None:
    _change_all(dataset, lambda row: row.update(transcript="The same to everybody."))
    num_tested = sum(_tested(row) for _, row in all_rows(dataset, "samples"))
    tally = looked(across.check, dataset, keep=2)
    assert tally.counts["shared_transcripts"] == num_tested > 2
    assert len(tally.findings("shared_transcripts")) == 2


def test_more_processes_find_the_same(dataset: Path) -> None:
    _change_all(dataset, lambda row: row.update(transcript="The same to everybody."))
    alone, together = (findings(across.check, dataset, jobs=jobs) for jobs in (1, 2))
    assert told(alone) == told(together)


def test_damaged_page_is_told_and_the_rest_is_looked_at(dataset: Path) -> None:
    file, _ = first(dataset, "samples")
    path = dataset / file
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(content)
    assert {f.rule for f in findings(across.check, dataset)} == {"part_pages"}
