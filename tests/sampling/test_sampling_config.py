"""What may be said about tasks, draws and splits."""

import math

import pytest
from pydantic import ValidationError

from sllm_data.sampling import DrawConfig, SplitConfig, TaskConfig


@pytest.mark.parametrize("weight", [-1, math.inf, math.nan])
def test_a_weight_is_a_finite_number_from_0(weight):
    with pytest.raises(ValidationError):
        TaskConfig(weight=weight)


@pytest.mark.parametrize("code", ["", "english", "e", "en_US", "de-", "zh CN"])
def test_a_target_must_look_like_a_language_code(code):
    with pytest.raises(ValidationError):
        TaskConfig(to=(code,))


@pytest.mark.parametrize("code", ["de", "yue", "zh-CN", "sr-Latn-RS"])
def test_language_codes_may_have_scripts_and_regions(code):
    assert TaskConfig(to=(code,)).to == (code,)


def test_an_answer_in_the_target_language_needs_one():
    with pytest.raises(ValidationError, match="needs at least one language in `to`"):
        TaskConfig(response_language="to")
    assert TaskConfig(response_language="to", to=("de",)).to == ("de",)


def test_splits_must_leave_something_to_train_on():
    with pytest.raises(ValidationError, match=r"validation \+ test must be below 1, got 1\.1"):
        SplitConfig(validation=0.6, test=0.5)
    assert SplitConfig(validation=0.6, test=0.3).test == 0.3


@pytest.mark.parametrize("fields", [{"multi_task_share": 1.1}, {"multi_task_count": 1}])
def test_draws_have_bounds(fields):
    with pytest.raises(ValidationError):
        DrawConfig(**fields)


@pytest.mark.parametrize("model", [TaskConfig, DrawConfig, SplitConfig])
def test_unknown_fields_are_refused_and_values_are_frozen(model):
    with pytest.raises(ValidationError, match="Extra inputs"):
        model(colour="red")
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model(), next(iter(model.model_fields)), 0)
