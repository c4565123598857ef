"""Learning rates follow their schedule; what decays is matrices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import TrainingError
from sllm_data.trainer.config import LearningRates, OptimizerConfig, StageConfig
from sllm_data.trainer.optim import (
    ends_of,
    group_of,
    learning_rates,
    make_optimizer,
    stage_at,
    stage_number,
)


@st.composite
def stages(draw: st.DrawFn) -> list[StageConfig]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        steps = draw(st.integers(1, 30))
        found.append(
            StageConfig(
                steps=steps,
                warmup_steps=draw(st.integers(0, steps - 1)),
                schedule=draw(st.sampled_from(["cosine", "linear", "constant"])),
                final_share=draw(st.sampled_from([0.0, 0.1, 1.0])),
                learning_rates=LearningRates(connector=0.5, llm=0.25, encoder=0),
            )
        )
    return found


@given(stages())
def test_a_rate_rises_to_its_highest_and_never_rises_again(chosen):
    step = 0
    for number, stage in enumerate(chosen):
        rates = []
        for at in range(stage.steps):
            assert stage_at(chosen, step) == (stage, at)
            assert stage_number(chosen, step) == number
            found = learning_rates(chosen, step)
            assert found["encoder"] == 0
            assert found["llm"] == pytest.approx(found["connector"] / 2)
            rates.append(found["connector"])
            step += 1
        peak = stage.warmup_steps
        assert rates[peak] == pytest.approx(0.5)
        assert rates[: peak + 1] == sorted(rates[: peak + 1])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert all(0 <= rate <= 0.5 for rate in rates)
        if stage.schedule != "constant" and stage.steps - peak > 1:
            assert rates[-1] == pytest.approx(0.5 * stage.final_share)
        assert step in ends_of(chosen)
    with pytest.raises(ValueError, match="behind the last"):
        stage_at(chosen, step)


def test_only_matrices_decay_and_groups_know_their_part():
    parameters = {
        "connector.bias": torch.nn.Parameter(torch.ones(2)),
        "connector.weight": torch.nn.Parameter(torch.ones(2, 2)),
        "llm.lora_A.weight": torch.nn.Parameter(torch.ones(2, 2)),
    }
    optimizer = make_optimizer(parameters, OptimizerConfig(weight_decay=0.1), fused=False)

    assert [(group["part"], group["weight_decay"]) for group in optimizer.param_groups] == [
        ("connector", 0.0),
        ("connector", 0.1),
        ("llm", 0.1),
    ]


def test_a_parameter_of_no_part_is_refused():
    with pytest.raises(TrainingError, match=r"the parameter head\.weight must belong to one of"):
        group_of("head.weight")
