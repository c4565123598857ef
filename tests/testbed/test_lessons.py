"""What the backbone is examined on: every task, in the words of the pipeline's pools."""

import pytest

from sllm_data.steps.testbed import shipped_course
from sllm_data.testbed.answers import HELD_OUT, TASKS
from sllm_data.testbed.events import half_of
from sllm_data.testbed.lessons import Course, Lesson


@pytest.fixture(scope="module")
def course() -> Course:
    return shipped_course()


def content_of(lesson: Lesson) -> str:
    """The story: the paragraph that is no instruction, which alone has no capital."""
    (content,) = (piece for piece in lesson.prompt.split("\n\n") if piece == piece.lower())
    return content


def test_every_wording_of_both_sides_is_taught(course):
    assert all(len(course.wordings[task]) == 16 for task in TASKS)
    assert all("{" not in wording for texts in course.wordings.values() for wording in texts)
    assert any("Marenic" in wording for wording in course.wordings["translation"])


def test_exams_are_of_the_half_that_is_asked_for(course):
    for half in ("train", "test"):
        exam = course.exam(seed=1, per_task=10, half=half)
        assert {half_of(content_of(lesson)) for lesson in exam} == {half}


def test_an_exam_asks_every_task_alike_also_those_that_speech_never_trains(course):
    exam = course.exam(seed=1, per_task=3)
    assert sorted(lesson.task for lesson in exam) == sorted([*TASKS] * 3)
    assert {lesson.task for lesson in exam} > HELD_OUT


def test_instructions_come_before_and_after_the_content_with_and_without_a_system_turn(course):
    exam = course.exam(seed=1, per_task=15)
    assert {lesson.prompt.startswith(content_of(lesson)) for lesson in exam} == {True, False}
    assert {len(lesson.messages) for lesson in exam} == {1, 2}


def test_the_same_seed_gives_the_same_exam(course):
    first, again, other = (course.exam(seed=seed, per_task=2) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_course_without_a_wording_for_a_task_is_refused(course):
    wordings = {task: course.wordings[task] for task in TASKS if task != "who"}
    with pytest.raises(ValueError, match="there is none for who"):
        Course(wordings=wordings, layouts=course.layouts)
