"""Recipe behaviour_imitation on real speech with the real engine: cut clips, log-probabilities."""

import subprocess
import sys
from collections import Counter

import pytest
import yaml
from steps_datasets import rows

from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

pytestmark = [pytest.mark.engine, pytest.mark.real_speech, pytest.mark.timeout(1_200)]

_LIKELIEST = 3


@pytest.fixture(scope="module")
def built(real_speech, tiny_backbone, tmp_path_factory, engine_inside):
    folder = tmp_path_factory.mktemp("imitation")
    document = {
        "seed": 3,
        "output": str(folder / "d"),
        "part_size": 40,
        "recipe": "behaviour_imitation",
        "corpora": [{"kind": "librispeech", "path": str(real_speech / "librispeech/LibriSpeech")}],
        "backbone": {
            "engine": "vllm",
            "model": str(tiny_backbone),
            "temperature": 0.9,
            "max_num_seqs": 64,
            "max_model_len": 2048,
            "kv_cache_gib": 1,
            "enforce_eager": True,
            "dtype": "float32",
            "top_logprobs": _LIKELIEST,
        },
        "followup": {"chance": 0.5, "max_tokens": 16},
        "tasks": {
            name: {"max_tokens": 16}
            for name in ("repetition", "intent", "summary", "reply", "title", "verification")
        },
        "filters": {"wrong_language": False, "repetition": False},
        "max_rejected_fraction": 1.0,
    }
    run_yaml = folder / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", "run", str(run_yaml)],
        env=engine_inside,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "d"


def test_the_dataset_is_what_its_contract_says(built):
    report = validate(built, Options(level=3, jobs=1))
    assert [o.rule.name for o in report.outcomes if o.is_failure] == []


def test_rows_hear_all_of_a_clip_or_a_part_of_it(built):
    kinds = Counter(row["kind"] for row in rows(built, "samples"))
    assert kinds["interleaved"] > 5
    assert kinds["instruct"] > 5


def test_each_generated_answer_has_the_likeliest_tokens_at_each_of_its_places(built):
    generated = [row for row in rows(built, "samples") if row["generator"]["engine"] == "vllm"]
    assert generated
    for row in generated:
        length = len(row["response_token_ids"])
        assert [len(each) for each in row["response_logprobs"]] == [_LIKELIEST] * length
        assert [len(each) for each in row["response_top_token_ids"]] == [_LIKELIEST] * length


def test_what_a_backbone_wrote_that_is_no_question_is_a_counted_rejection(built):
    asked = len(rows(built, "requests/question"))
    used = sum(
        row["task"] in ("question_answering", "verification")
        for row in rows(built, "requests/main")
    )
    useless = [r for r in rows(built, "rejections/plan.main") if r["reason"] == "no_question"]
    assert asked == used + len(useless) > 0
