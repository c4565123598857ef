"""Each step's identity holds what its rows depend on, and all that stands before it."""

import pytest

from sllm_data.config import resolve
from sllm_data.documents import identity_of
from sllm_data.steps.identities import identities

STEPS = ["candidates", "ingest", "index", "plan", "generate", "assemble"]


def document(**fields: object) -> dict[str, object]:
    smallest = {
        "seed": 1,
        "output": "out",
        "corpora": [{"kind": "librispeech", "path": "data"}],
        "backbone": {"engine": "scripted"},
    }
    return identity_of(resolve(smallest | fields, where="run.yaml"))


def after(first: str) -> set[str]:
    """The step and all that read what it wrote; nothing reads what `align` wrote."""
    following = set(STEPS[STEPS.index(first) :])
    return following | {"align"} if "index" in following else following


def changed(**fields: object) -> set[str]:
    old, new = identities([document()]), identities([document(**fields)])
    return {step for step in old if old[step] != new[step]}


def test_every_step_has_an_identity_of_its_own():
    found = identities([document()])
    assert found.keys() == after("candidates")
    assert len(set(found.values())) == len(found)


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"seed": 2}, "candidates"),
        ({"part_size": 5}, "candidates"),
        ({"audio": {"max_duration_s": 30.0}}, "ingest"),
        ({"draw": {"mode": "quota"}}, "index"),
        ({"splits": {"test": 0.1}}, "index"),
        ({"tasks": {"intent": {"weight": 2}}}, "index"),
        ({"prompts": {"max_prompt_tokens": 9}}, "plan"),
        ({"backbone": {"engine": "scripted", "function": "echo"}}, "plan"),
        ({"filters": {"judge_keep": 4}}, "assemble"),
    ],
)
def test_a_change_reaches_its_step_and_all_that_follow(fields, first):
    assert changed(**fields) == after(first)


def test_who_aligns_words_matters_to_no_other_step():
    assert changed(alignment={"backend": "auto"}) == {"align"}


@pytest.mark.parametrize(
    "fields", [{"output": "x"}, {"runner": {"kind": "serial"}}, {"max_rejected_fraction": 0.1}]
)
def test_what_no_row_depends_on_reaches_no_step(fields):
    assert changed(**fields) == set()


def test_each_extension_has_identities_of_its_own():
    first, second = identities([document()]), identities([document(), document()])
    assert all(first[step] != second[step] for step in STEPS)


def test_every_identity_field_belongs_to_a_step():
    """A field that no step hashes could change without anyone noticing."""
    from sllm_data.steps.identities import _ASIDE, _OF_STEP

    named = {name for fields in _OF_STEP.values() for name in fields}
    named |= {name for _, fields in _ASIDE.values() for name in fields}
    assert {name for name, value in document().items() if value != {}} == named
