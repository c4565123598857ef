"""The fuzzer itself: it notices what doors do that misbehave on purpose, and repeats itself."""

from collections import deque

import pytest
from fuzzing.campaign import Campaign, Limits
from fuzzing.guard import Job, run_jobs
from fuzzing.mutating import Mutator
from fuzzing.targets import PLANTED, TARGETS
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.seeding import rng_for

PATIENT = Limits(cpu_s=120.0)  # a busy machine must not pass for a hang
HASTY = Limits(cpu_s=1.0)


def campaign(target, folder, *, guided: bool, seed: int = 1, inputs: int = 60) -> Campaign:
    made = Campaign(target, target.open(folder), seed=seed, guided=guided, limits=PATIENT)
    deque(made.run(iter(range(inputs))), maxlen=0)
    return made


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("planted_error", "KeyError"),
        ("planted_promise", "Broken"),
        ("planted_sentence", "Broken"),
        ("planted_memory", "memory"),
    ],
)
def test_what_comes_out_that_must_not_is_a_failure_with_its_input(tmp_path, name, kind):
    found = campaign(PLANTED[name], tmp_path, guided=False).findings
    ((times, content, failure),) = found.failures.values()
    assert failure.kind == kind
    assert times >= 1
    assert b"!" in content


@pytest.mark.parametrize(
    ("name", "kind"),
    [("planted_crash", "SIGSEGV"), ("planted_exit", "exit"), ("planted_hang", "hang")],
)
def test_what_ends_or_stops_the_process_is_laid_to_its_input_and_the_rest_is_tried(
    tmp_path, name, kind
):
    limits = HASTY if kind == "hang" else PATIENT
    job = Job(target=name, seed=1, inputs=12, first=0, step=1, folder=tmp_path, limits=limits)
    found = run_jobs([job])
    assert found.inputs == 12
    # a loop may be stopped at either of its lines, which are then two failures
    for _, content, failure in found.failures.values():
        assert failure.kind == kind
        assert failure.where.startswith("planted_doors.py:") or kind == "exit"  # no trace
        assert b"!" in content
    assert found.taken == 12 - sum(times for times, _, _ in found.failures.values()) < 12


def test_the_same_seed_makes_the_same_inputs(tmp_path):
    target = TARGETS["step_manifest"]
    made = [campaign(target, tmp_path, guided=False, seed=seed) for seed in (1, 1, 2)]
    first, again, other = ([each.content(n) for n in range(60, 90)] for each in made)
    assert first == again
    assert first != other


def test_guidance_keeps_inputs_that_reach_new_lines(tmp_path):
    target = TARGETS["durations"]
    by_lines = campaign(target, tmp_path / "a", guided=True).findings
    by_outcome = campaign(target, tmp_path / "b", guided=False).findings
    assert by_lines.lines
    assert not by_outcome.lines
    assert len(by_lines.kept) >= len(by_outcome.kept) > 0


@given(
    seed=st.binary(max_size=60),
    other=st.binary(max_size=60),
    number=st.integers(0, 10_000),
    hot=st.sampled_from(["anywhere", "head", "tail"]),
)
def test_any_bytes_can_be_changed_and_stay_within_the_bound(seed, other, number, hot):
    mutator = Mutator(tokens=("x",), hot=hot, hot_bytes=8, max_bytes=100)
    one, two = (mutator.mutate(rng_for(1, "t", number), seed, other) for _ in range(2))
    assert one == two
    assert len(one) <= 100
