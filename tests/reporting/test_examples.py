"""The first samples as a person reads them."""

import pytest

from sllm_data.reporting import first_samples
from sllm_data.shards import TABLES, part_name, write_part
from tests.shards.random_rows import some_rows


@pytest.fixture
def dataset(tmp_path):
    """Two parts of two samples; the engine of the first of each is `none`."""
    for number in (1, 0):
        rows = some_rows(TABLES["samples"])[1:3]
        for engine, row in zip(("none", "scripted"), rows, strict=True):
            row["sample_id"] = f"{number}-{engine}"
            row["generator"]["engine"] = engine
        file = f"samples/{part_name(number)}"
        write_part(tmp_path, file, rows, table=TABLES["samples"], identity="i")
    return tmp_path


def test_samples_come_in_the_order_of_the_dataset(dataset):
    ids = [row["sample_id"] for row in first_samples(dataset, 3, generated=False)]
    assert ids == ["0-none", "0-scripted", "1-none"]


def test_rows_whose_answer_is_the_transcript_may_be_passed_over(dataset):
    ids = [row["sample_id"] for row in first_samples(dataset, 9)]
    assert ids == ["0-scripted", "1-scripted"]


def test_what_is_missing_is_left_out_at_every_depth(tmp_path):
    row = some_rows(TABLES["samples"])[3]
    row["generator"] = {"engine": "scripted", "model": None}
    row["messages"] = [{"role": "user", "content": [{"type": "text", "text": None}]}]
    file = f"samples/{part_name(0)}"
    write_part(tmp_path, file, [row], table=TABLES["samples"], identity="i")
    (found,) = first_samples(tmp_path, 1)
    assert found["generator"] == {"engine": "scripted"}
    assert found["messages"] == [{"role": "user", "content": [{"type": "text"}]}]


def test_a_dataset_without_samples_has_none_to_show(tmp_path):
    assert first_samples(tmp_path, 3) == []
