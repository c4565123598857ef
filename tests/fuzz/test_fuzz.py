"""Damaged and hostile inputs against every door, the same ones in each run.

`benchmarks/fuzz.py` tries a hundred thousand of them for each door and steers by what they
reach; here it is a few hundred, all made from the seeds.
"""

from collections import deque
from math import inf

import pytest
from fuzzing.campaign import Campaign, Findings, Limits
from fuzzing.guard import Job, run_jobs
from fuzzing.targets import TARGETS
from fuzzing.trial import close

SEED = 20_261
INPUTS = {"chat_template": 150, "dataset_yaml": 120, "run_yaml": 200, "server": 80}
LIMITS = Limits(cpu_s=inf)


def stories(findings: Findings) -> str:
    return "\n\n".join(
        f"{signature}, {times} times, as of {content!r}:\n{failure.story}"
        for signature, (times, content, failure) in findings.failures.items()
    )


@pytest.mark.parametrize(
    "name", sorted(name for name, target in TARGETS.items() if not target.in_child)
)
def test_nothing_but_values_rejections_and_our_own_errors_comes_out(name, tmp_path):
    target = TARGETS[name]
    door = target.open(tmp_path)
    campaign = Campaign(target, door, seed=SEED, guided=False, limits=LIMITS)
    deque(campaign.run(iter(range(INPUTS.get(name, 300)))), maxlen=0)
    close(door)
    assert not campaign.findings.failures, stories(campaign.findings)
    assert campaign.findings.taken
    assert campaign.findings.refused or campaign.findings.rejected or name == "replies"


@pytest.mark.parametrize(
    "name", sorted(name for name, target in TARGETS.items() if target.in_child)
)
def test_a_library_in_c_neither_crashes_nor_lets_anything_else_out(name, tmp_path):
    job = Job(
        target=name,
        seed=SEED,
        inputs=300,
        first=0,
        step=1,
        folder=tmp_path,
        limits=LIMITS,
        guided=False,
    )
    findings = run_jobs([job])
    assert findings.inputs == 300
    assert not findings.failures, stories(findings)
    assert findings.taken
