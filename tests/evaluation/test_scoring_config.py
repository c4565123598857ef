"""A file that says how tasks are scored."""

import pytest

from sllm_data.errors import ConfigError
from sllm_data.evaluation.config import TASKS, EvaluationConfig, load_evaluation_config


def _loaded(folder, text):
    path = folder / "scoring.yaml"
    path.write_text(text)
    return load_evaluation_config(path)


def test_without_a_file_the_defaults_hold():
    assert load_evaluation_config(None) == EvaluationConfig()
    assert EvaluationConfig().scoring("keywords") == TASKS["keywords"]
    assert EvaluationConfig().scoring("unheard of").main == "rouge_l"


def test_a_task_of_the_file_replaces_its_default_and_leaves_the_others(tmp_path):
    config = _loaded(tmp_path, "tasks: {keywords: {metrics: [chrf], main: chrf}}")
    assert config.scoring("keywords").metrics == ("chrf",)
    assert config.scoring("translation") == TASKS["translation"]


def test_checks_of_the_file_stand_over_those_of_evaluation(tmp_path):
    checks = _loaded(tmp_path, "checks: {repetition: false}").checks
    assert (checks.repetition, checks.truncated, checks.copied) == (False, "drop", False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("anchor: {max_copyrate: 0.5}", "did you mean 'max_copy_rate'?"),
        ("tasks: {x: {metrics: [wer2]}}", "tasks.x.metrics.0: must be 'wer_raw', 'wer'"),
        ("tasks: {x: {main: label_accuracy}}", "labels must be listed for label_accuracy"),
        ("bootstrap: {resamples: 1}", "must be greater than or equal to 100"),
        ("checks: 3", "checks"),
        ("- x", "must be a mapping of names to values"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_and_field(tmp_path, text, told):
    with pytest.raises(ConfigError) as caught:
        _loaded(tmp_path, text)
    assert told in str(caught.value)
    assert "scoring.yaml" in str(caught.value)
