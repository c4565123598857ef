"""Which rows of a dataset are asked."""

from collections import Counter

import pytest

from sllm_data.errors import ShardError
from sllm_data.evaluation.rows import all_ids, chosen_rows, rows_by_id


def test_all_rows_of_a_split_are_taken_in_the_order_of_their_ids(dataset):
    rows, skipped = chosen_rows(dataset, split="test", limit=None)
    ids = [row.sample_id for row in rows]
    assert ids == sorted(ids)
    assert len(ids) == 20
    assert set(ids) < all_ids(dataset)
    assert Counter(row.extra["eval_group"] for row in rows) == {
        "train": 12,
        "held_out_instruction": 4,
        "held_out_task": 4,
    }
    assert skipped == []


def test_a_limit_holds_for_each_task_of_each_group(dataset):
    every, _ = chosen_rows(dataset, split="test", limit=None)
    few, _ = chosen_rows(dataset, split="test", limit=2)
    assert set(Counter(row.task for row in few).values()) == {2}
    whole = [row.sample_id for row in every if row.task == "keywords"]
    assert [row.sample_id for row in few if row.task == "keywords"] == whole[:2]


def test_rows_are_found_by_id(dataset):
    (row, *_), _ = chosen_rows(dataset, split="test", limit=1)
    found = rows_by_id(dataset, [row.sample_id, "nowhere"])
    assert list(found) == [row.sample_id]
    assert [turn["role"] for turn in found[row.sample_id]["messages"]] == ["user", "assistant"]


def test_a_split_without_rows_and_a_folder_without_samples_are_told(dataset, tmp_path):
    with pytest.raises(ShardError, match="must hold rows of the split validation, has none"):
        chosen_rows(dataset, split="validation", limit=None)
    for look in (all_ids, lambda root: rows_by_id(root, ["a"])):
        with pytest.raises(ShardError, match=r"must be a dataset, found no samples/part-\*"):
            look(tmp_path)
