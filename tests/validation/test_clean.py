"""A dataset that this package made passes, whatever its shape."""

import pytest

from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

SHAPES = ("plain", "rich")


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_run_wrote_passes_every_rule(request, shape, level):
    report = validate(request.getfixturevalue(shape), Options(level=level, jobs=1))
    assert [(o.rule.name, o.findings) for o in report.outcomes if o.count] == []
