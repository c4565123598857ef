"""Word times that are wrong are named to the row."""

import pytest
from planting import broken, change, judged

PART = "alignments/part-00000.parquet"


@pytest.fixture
def dataset(sound, copied):
    return copied(sound)


def overlapping(rows):
    words = rows[0]["words"]
    words[1]["start_sample"] = words[0]["start_sample"]


def foreign_backend(rows):
    rows[0]["backend"] = "magic"


def without_length(rows):
    rows[0]["words"][0]["num_samples"] = 0


def unsure_beyond_measure(rows):
    rows[0]["confidence"] = 1.5


def other_text(rows):
    rows[0]["words"][0]["text"] = "other "


def behind_the_end(rows):
    rows[0]["words"][-1]["num_samples"] = 10**9


def of_no_clip(rows):
    rows[0]["audio_id"] = "a/b/c/d"


def twice(rows):
    rows.append(rows[-1])


def out_of_order(rows):
    rows.reverse()


@pytest.mark.parametrize(
    ("fault", "level", "rules"),
    [
        (overlapping, 1, {"word_form"}),
        (without_length, 1, {"word_form"}),
        (foreign_backend, 1, {"enum"}),
        (unsure_beyond_measure, 1, {"score_range"}),
        (of_no_clip, 1, {"accounted"}),
        (twice, 1, {"unique_id", "accounted"}),
        (out_of_order, 1, {"row_order"}),
        (other_text, 2, {"word_clip"}),
        (behind_the_end, 2, {"word_clip"}),
    ],
)
def test_a_fault_is_found_by_its_rule(dataset, fault, level, rules):
    change(dataset, PART, fault)
    assert broken(judged(dataset, level)).keys() == rules
