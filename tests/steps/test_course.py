"""The course of a run: few points, the last is the end, runs behind one another."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps_datasets import build

from sllm_data.steps.course import MAX_POINTS, MAX_RUNS, Course, append_course


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0.01, 30.0)), max_size=600))
def test_points_are_few_and_rise_to_all_answers(batches):
    course, at = Course(), 0.0
    for responses, seconds in batches:
        at += seconds
        course.add(responses, at)
    points = course.points()
    assert len(points) <= MAX_POINTS
    assert points == sorted(points)
    if batches:
        assert points[-1] == (pytest.approx(at), sum(responses for responses, _ in batches))


def test_a_worker_that_is_behind_does_not_turn_time_back():
    course = Course()
    course.add(1, 5.0)
    course.add(1, 3.0)
    assert course.points()[-1] == (5.0, 2)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"runs": 3}', "[" * 100_000])
def test_a_file_that_is_no_course_is_written_anew(tmp_path, content):
    path = tmp_path / "reports/generate.main.course.json"
    if content is not None:
        path.parent.mkdir()
        path.write_text(content)
    course = Course()
    course.add(4, 2.0)
    append_course(path, course)
    assert json.loads(path.read_text()) == {"runs": [[[2.0, 4]]]}


def test_only_the_latest_runs_are_kept(tmp_path):
    path = tmp_path / "course.json"
    for number in range(1, MAX_RUNS + 3):
        course = Course()
        course.add(number, 1.0)
        append_course(path, course)
    runs = json.loads(path.read_text())["runs"]
    assert [run[0][1] for run in runs] == list(range(3, MAX_RUNS + 3))


def test_a_run_leaves_its_course_and_one_that_finds_all_done_none(tmp_path, configured):
    config = configured(tmp_path / "d")
    build(config)
    path = tmp_path / "d/reports/generate.main.course.json"
    (points,) = json.loads(path.read_text())["runs"]
    summary = json.loads((tmp_path / "d/reports/generate.main.json").read_text())
    assert points[-1][1] == summary["responses"]
    build(config)
    assert len(json.loads(path.read_text())["runs"]) == 1
