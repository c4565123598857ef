"""The recipes that reproduce published systems, run on real speech; the engine is scripted."""

import pytest
from steps_datasets import build, rows

from sllm_data.config import resolve
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

pytestmark = pytest.mark.real_speech


def made(real_speech, root, recipe, **fields):
    document = {
        "seed": 3,
        "output": str(root),
        "part_size": 40,
        "corpora": [
            {"kind": "librispeech", "path": str(real_speech / "librispeech/LibriSpeech")},
            {
                "kind": "common_voice",
                "path": str(real_speech / "common_voice/cv-corpus-6.1-2020-12-11"),
                "locales": ["de"],
            },
        ],
        "recipe": recipe,
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "max_rejected_fraction": 1.0,
    }
    build(resolve(document | fields, where="test"))
    report = validate(root, Options(level=3, jobs=1))
    assert [outcome.rule.name for outcome in report.outcomes if outcome.is_failure] == []
    return rows(root, "samples")


def test_behaviour_imitation_asks_many_tasks_and_cuts_half_of_what_is_aligned(
    real_speech, tmp_path
):
    samples = made(real_speech, tmp_path / "d", "behaviour_imitation")
    train = {row["task"] for row in samples if row["split"] == "train"}
    # the script writes statements, and no questions
    assert len(train) == 13
    assert not train & {"ordering", "formality", "question_answering"}
    held_out = {row["task"] for row in samples if row["eval_group"] == "held_out_task"}
    assert held_out <= {"ordering", "formality"}
    assert held_out
    english = [row["kind"] for row in samples if row["language"] == "en"]
    assert 0.3 < english.count("interleaved") / len(english) < 0.7
    assert {row["kind"] for row in samples if row["language"] == "de"} == {"instruct"}
    by_clip: dict[str, set[str]] = {}
    for row in samples:
        by_clip.setdefault(row["audio_refs"][0]["audio_id"], set()).add(row["task"])
    assert sum(len(tasks) == 3 for tasks in by_clip.values()) > 10


@pytest.mark.parametrize(
    ("tasks", "asked"),
    [
        ({}, "continuation"),
        ({"continuation": {"weight": 0}, "reply": {"weight": 1}}, "reply"),
    ],
)
def test_continuation_asks_one_task_of_everything(real_speech, tmp_path, tasks, asked):
    samples = made(real_speech, tmp_path / "d", "continuation", tasks=tasks)
    assert {row["task"] for row in samples} == {asked}
    assert len(samples) > 80
