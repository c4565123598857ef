"""What is asked next: more of what went wrong; long stories wait until short ones are known."""

from collections import Counter

import pytest

from sllm_data.steps.testbed import shipped_course
from sllm_data.testbed.answers import TASKS
from sllm_data.testbed.curriculum import Curriculum
from sllm_data.testbed.events import MAX_SENTENCES, half_of


@pytest.fixture
def curriculum() -> Curriculum:
    return Curriculum(shipped_course(), seed=1)


def practised(curriculum, count, *, weak=frozenset()):
    """Draws and answers so many lessons, all of them right but those of weak tasks."""
    asked = Counter()
    for _ in range(count):
        skill, lesson = curriculum.draw()
        assert skill.task == lesson.task
        curriculum.mark(skill, right=skill.task not in weak)
        asked[skill] += 1
    return asked


def test_at_first_all_tasks_are_asked_alike_about_single_sentences(curriculum):
    asked = Counter(curriculum.draw()[0] for _ in range(1_500))
    assert {skill.num_events for skill in asked} == {1}
    assert {skill.task for skill in asked} == set(TASKS)
    assert min(asked.values()) > 60


def test_longer_stories_are_told_once_shorter_ones_are_known(curriculum):
    lengths = []
    for _ in range(16):
        practised(curriculum, 600)
        lengths.append(curriculum.longest)
    assert lengths == sorted(lengths)
    assert lengths[0] < MAX_SENTENCES
    assert lengths[-1] == MAX_SENTENCES


def test_nothing_longer_is_told_to_one_who_knows_nothing(curriculum):
    practised(curriculum, 1_000, weak=frozenset(TASKS))
    assert curriculum.longest == 1


def test_what_is_answered_wrongly_is_asked_more(curriculum):
    practised(curriculum, 1_000, weak={"translation"})
    asked = Counter()
    for skill, times in practised(curriculum, 1_000, weak={"translation"}).items():
        asked[skill.task] += times
    others = [times for task, times in asked.items() if task != "translation"]
    assert asked["translation"] > 3 * max(others)
    assert min(others) > 0


def test_stories_are_of_the_half_train(curriculum):
    lessons = [curriculum.draw()[1] for _ in range(200)]
    texts = [
        piece
        for lesson in lessons
        for piece in lesson.prompt.split("\n\n")
        if piece == piece.lower()
    ]
    assert len(texts) == len(lessons)
    assert {half_of(text) for text in texts} == {"train"}


def test_the_same_seed_and_answers_give_the_same_lessons():
    drawn = []
    for seed in (1, 1, 2):
        curriculum = Curriculum(shipped_course(), seed=seed)
        practised(curriculum, 200, weak={"keywords"})
        drawn.append([curriculum.draw() for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
