"""Every mistake of docs/faults.md ends in the very sentence that stands there."""

import re
from pathlib import Path

import pytest

from tests.bad_input.conftest import Command
from tests.bad_input.damage import DAMAGE
from tests.bad_input.mistakes import MISTAKES
from tests.bad_input.page import table

SENTENCES = dict(table("Mistakes"))


def test_the_page_has_the_mistakes_that_are_tried_here():
    assert list(SENTENCES) == [*MISTAKES, *DAMAGE]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_the_sentence_of_the_page_before_any_work(
    name, here: Path, command: Command
):
    said = command(*MISTAKES[name](here, command))
    assert said.sentence.replace(f"{here}/", "") == SENTENCES[name]
    assert said.status == 2
    assert not (here / "out/candidates").exists()


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_dataset_ends_in_the_sentence_of_the_page(name, here: Path, command: Command):
    said = command(*DAMAGE[name](here, command))
    sentence = re.sub(r"[0-9,]+ bytes", "N bytes", said.sentence)  # sizes follow the columns
    assert sentence == SENTENCES[name]
    assert said.status == 2
