"""What goes beyond one plain pass: reuse, restored transcripts, a judge, quotas, selection."""

import json
from collections import Counter

import pytest
from steps_datasets import build, rows

from sllm_data.errors import OutputError
from sllm_data.sampling import largest_remainder


def test_equal_requests_are_reused_and_named(tmp_path, configured):
    old, new = tmp_path / "old", tmp_path / "new"
    build(configured(old))
    build(configured(new, reuse=[str(old)]))

    generated = [row for row in rows(new, "responses/main") if row["engine"] != "none"]
    assert generated
    assert all(row["reused_from"] for row in generated)
    assert [r["text"] for r in rows(new, "responses/main")] == [
        r["text"] for r in rows(old, "responses/main")
    ]


def test_only_changed_requests_are_asked_again(tmp_path, configured):
    old, new = tmp_path / "old", tmp_path / "new"
    build(configured(old))
    build(configured(new, reuse=[str(old)], tasks={"intent": {"max_tokens": 7}}))

    task_of = {row["request_id"]: row["task"] for row in rows(new, "requests/main")}
    asked_again = {
        task_of[row["request_id"]]
        for row in rows(new, "responses/main")
        if row["engine"] != "none" and row["reused_from"] is None
    }
    assert asked_again == {"intent"}


def test_reuse_of_what_is_no_dataset_is_refused(tmp_path, configured):
    with pytest.raises(OutputError, match="must be a dataset with responses"):
        build(configured(tmp_path / "d", reuse=[str(tmp_path)]))


def test_a_transcript_that_the_backbone_changed_is_kept_as_read(tmp_path, configured):
    root = tmp_path / "d"
    build(configured(root, prompts={"preparation": "restored"}))

    asked = rows(root, "requests/restore")
    samples = rows(root, "samples")
    assert len(asked) == len({row["audio_id"] for row in asked})
    assert all(row["transcript_prepared"] == row["transcript"].strip() for row in samples)


def test_lower_case_is_shown_and_both_forms_are_kept(tmp_path, configured):
    root = tmp_path / "d"
    build(configured(root, prompts={"preparation": "lower"}))

    for row in rows(root, "samples"):
        assert row["transcript_prepared"] == row["transcript"].strip().lower()


def test_a_judge_scores_every_answer_that_passed_the_cheap_verdicts(tmp_path, configured):
    root = tmp_path / "d"
    filters = {
        "wrong_language": False,
        "copied": False,
        "judge": True,
        "judge_unscored": "keep",
    }
    build(configured(root, filters=filters))

    judged = {row["sample_id"] for row in rows(root, "requests/judge")}
    generated = {
        row["sample_id"] for row in rows(root, "samples") if row["generator"]["engine"] != "none"
    }
    assert generated
    assert generated <= judged


def test_quotas_are_exact_in_every_split(tmp_path, configured):
    root = tmp_path / "d"
    tasks = {name: {"min_words": 1} for name in ("repetition", "intent", "sentiment")}
    tasks |= {name: {"weight": 0} for name in ("keywords", "continuation", "translation")}
    build(configured(root, draw={"mode": "quota"}, tasks=tasks))

    for split in ("train", "validation", "test"):
        counts = Counter(r["task"] for r in rows(root, "requests/main") if r["split"] == split)
        weights = dict.fromkeys(("intent", "repetition", "sentiment", "transcription"), 1.0)
        assert counts == largest_remainder(counts.total(), weights)


def test_held_out_tasks_are_asked_outside_train_only(tmp_path, configured):
    root = tmp_path / "d"
    build(configured(root, tasks={"sentiment": {"held_out": True, "min_words": 1}}))

    splits = {r["split"] for r in rows(root, "requests/main") if r["task"] == "sentiment"}
    groups = {r["eval_group"] for r in rows(root, "requests/main") if r["task"] == "sentiment"}
    assert "train" not in splits
    assert groups == {"held_out_task"}


def test_limit_sample_and_weight_choose_by_hash(tmp_path, configured, document):
    corpora = document(tmp_path)["corpora"]
    weighted = [corpora[0] | {"weight": 2.0}, corpora[1] | {"weight": 1.0, "locales": ["de"]}]
    root = tmp_path / "weighted"
    build(configured(root, corpora=weighted))
    by_entry = Counter(row["entry"] for row in rows(root, "candidates"))

    assert by_entry[0] == 2 * by_entry[1]

    sampled = tmp_path / "sampled"
    build(configured(sampled, corpora=[corpora[0] | {"sample": 0.5}, corpora[1]]))
    every = {row["audio_id"] for row in rows(root, "candidates")}
    assert 0 < sum(row["entry"] == 0 for row in rows(sampled, "candidates")) < 22
    assert every


def test_part_size_changes_no_row(tmp_path, configured):
    small, large = tmp_path / "small", tmp_path / "large"
    build(configured(small, part_size=5))
    build(configured(large, part_size=1000))

    def ids(root):
        return [(r["request_id"], r["task"], r["seed"]) for r in rows(root, "requests/main")]

    assert ids(small) == ids(large)


def test_prompts_that_are_too_long_are_counted(tmp_path, configured, tiny_backbone):
    root = tmp_path / "d"
    backbone = {"engine": "scripted", "tokenizer": str(tiny_backbone)}
    prompts = {"max_prompt_tokens": 40}
    build(configured(root, backbone=backbone, prompts=prompts, max_rejected_fraction=1))

    rejected = rows(root, "rejections/plan.main")
    assert {row["reason"] for row in rejected} == {"prompt_too_long"}
    assert all(len(r["prompt_token_ids"]) <= 40 for r in rows(root, "requests/main"))


def test_template_shares_and_languages_of_wordings_are_drawn(tmp_path, configured):
    root = tmp_path / "d"
    prompts = {
        "templates": {"instruction_first": 0.5, "content_first": 0.5},
        "instruction_languages": {"utterance": 1.0},
    }
    build(configured(root, prompts=prompts))
    requests = rows(root, "requests/main")

    assert {row["variant"] for row in requests} == {"instruction_first", "content_first"}
    for row in requests:
        locale = row["audio_id"].split("/")[2]
        assert row["instruction_language"] == ("de" if locale == "de" else "en")
        assert json.loads(row["task_params"]).keys() <= {"to"}
