"""contract.yaml: bounds, lists and weights of a dataset's own, and what is wrong with them."""

import pytest
import yaml
from planting import broken, judged

from sllm_data.errors import ConfigError
from sllm_data.validation.contract import load_contract


def _written(root, text):
    (root / "contract.yaml").write_text(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("task: [a]", "task is not a known key; did you mean 'tasks'?"),
        ("tasks: []", "tasks: "),
        ("max_duration_s: -1", "max_duration_s: must be greater than 0, got -1"),
        ("rules: {part_row: off}", "rules.part_row is not a rule; did you mean 'part_rows'?"),
        ("rules: {part_rows: fatal}", "rules.part_rows: must be 'error', 'warning' or 'off'"),
        ("extra_columns: {sample: {a: int}}", "'sample' must be a table"),
        ("extra_columns: {samples: {a: number}}", "extra_columns.samples.a: must be string, int"),
        ("required_splits: [dev]", "required_splits.0: must be 'train', 'validation' or 'test'"),
        ("{min_duration_s: 9, max_duration_s: 8}", "min_duration_s must be at most"),
        ("response_tokens: {intent: {min: 9, max: 8}}", "min must be at most max"),
        ("response_tokens: {intent: {mim: 9}}", "did you mean 'min'?"),
        ("- a", "must be a mapping of names to values"),
        ("tasks: [a", "is not valid YAML"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_file(dataset, text, sentence):
    _written(dataset, text)
    with pytest.raises(ConfigError) as error:
        judged(dataset, 0)
    assert sentence in str(error.value)
    assert str(dataset / "contract.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_off_is_a_weight_though_yaml_takes_it_for_false(tmp_path):
    _written(tmp_path, "rules: {part_rows: off, part_size: 'off', finished: warning}")
    contract = load_contract(tmp_path / "contract.yaml")
    assert contract.rules == {"part_rows": "off", "part_size": "off", "finished": "warning"}


def test_a_contract_that_was_asked_for_must_be_there(dataset, tmp_path):
    with pytest.raises(ConfigError, match="can't be read"):
        judged(dataset, 0, contract=tmp_path / "none.yaml")


def test_a_contract_that_was_asked_for_is_taken_instead(dataset, tmp_path):
    _written(dataset, "min_samples: 1000000")
    other = tmp_path / "other.yaml"
    other.write_text("min_samples: 1")
    assert broken(judged(dataset, 1)) == {"min_samples": 1}
    report = judged(dataset, 1, contract=other)
    assert broken(report) == {}
    assert report.contract == str(other)


def test_a_rule_may_be_made_a_warning_or_switched_off(dataset):
    _written(dataset, "min_samples: 1000000")
    assert not judged(dataset, 1).passed
    _written(dataset, "{min_samples: 1000000, rules: {min_samples: warning}}")
    report = judged(dataset, 1)
    assert report.passed
    assert report.number("warning") == 1
    _written(dataset, "{min_samples: 1000000, rules: {min_samples: off}}")
    assert broken(judged(dataset, 1)) == {}


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"min_duration_s": 30}, "duration_bounds"),
        ({"max_duration_s": 0.5}, "duration_bounds"),
        ({"max_response_tokens": 1}, "response_length"),
        ({"tasks": ["transcription"]}, "allowed_task"),
        ({"languages": ["de"]}, "allowed_language"),
        ({"licences": ["MIT"]}, "allowed_licence"),
    ],
)
def test_a_stricter_contract_finds_what_the_run_allowed(dataset, fields, rule):
    _written(dataset, yaml.safe_dump(fields))
    assert set(broken(judged(dataset, 1))) == {rule}


def test_a_language_allows_its_regions(dataset):
    _written(dataset, "languages: [en]")
    assert broken(judged(dataset, 1)) == {}
