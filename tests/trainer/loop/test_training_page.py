"""docs/training.md: its configurations parse, its fields are there and have their defaults."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from sllm_data.trainer.config import TrainConfig, resolve_train
from sllm_data.trainer.figures import StepFigures

PAGE = (Path(__file__).parents[3] / "docs/training.md").read_text(encoding="utf-8")
DOCUMENTS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=["small", "usual"])
def test_each_train_yaml_is_accepted(document):
    assert resolve_train(document, where="docs").num_steps > 0


def _field(name: str) -> Any:
    model: Any = TrainConfig
    *parents, last = name.split(".")
    for parent in parents:
        model = model.model_fields[parent].annotation
    assert issubclass(model, BaseModel)
    return model.model_fields[last]


def test_each_field_of_the_table_is_there_and_has_its_default():
    table = PAGE.split("## train.yaml")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|([^|]*)\|", table, re.MULTILINE)
    assert len(rows) > 15
    for names, defaults in rows:
        fields = re.findall(r"`([^`]+)`", names)
        shown = [yaml.safe_load(each) for each in re.findall(r"`([^`]+)`", defaults)]
        for name, default in zip(fields, shown or [None] * len(fields), strict=True):
            field = _field(name)
            if shown:
                actual = field.default
                assert (list(actual) if isinstance(actual, tuple) else actual) == default, name


def test_each_figure_of_the_table_is_in_the_metrics():
    table = PAGE.split("## Figures")[1].split("\n## ")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+)\|", table, re.MULTILINE)))
    assert len(named) > 8
    assert set(named) <= set(StepFigures.__dataclass_fields__)
