"""Speakers fall into splits by hash, in the configured shares, each into one."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.sampling import SplitConfig, split_of_speaker


@given(st.text(max_size=8), st.text(max_size=8), st.integers(0, 2**31))
def test_a_speaker_stands_in_one_split_whatever_the_order(corpus, speaker, seed):
    config = SplitConfig(validation=0.3, test=0.3)
    found = {
        split_of_speaker(config, seed=seed, corpus=corpus, speaker_id=speaker) for _ in range(3)
    }
    assert len(found) == 1
    assert found <= {"train", "validation", "test"}


@pytest.mark.parametrize(("validation", "test"), [(0.02, 0.02), (0.3, 0.1), (0.0, 0.5)])
def test_splits_have_the_shares_they_were_given(validation, test):
    config = SplitConfig(validation=validation, test=test)
    found = Counter(
        split_of_speaker(config, seed=1, corpus="c", speaker_id=str(i)) for i in range(20_000)
    )
    wanted = {"validation": validation, "test": test, "train": 1 - validation - test}
    for split, share in wanted.items():
        assert abs(found[split] / 20_000 - share) <= 4 * (share * (1 - share) / 20_000) ** 0.5


def test_equal_ids_of_two_corpora_are_two_speakers():
    config = SplitConfig(validation=0.5, test=0.0)
    pairs = {
        tuple(split_of_speaker(config, seed=1, corpus=c, speaker_id=str(i)) for c in "ab")
        for i in range(64)
    }
    assert len(pairs) == 4


def test_a_larger_test_share_takes_no_speaker_out_of_it():
    small, large = SplitConfig(validation=0.1, test=0.1), SplitConfig(validation=0.1, test=0.2)
    for i in range(2_000):
        if split_of_speaker(small, seed=1, corpus="c", speaker_id=str(i)) == "test":
            assert split_of_speaker(large, seed=1, corpus="c", speaker_id=str(i)) == "test"
