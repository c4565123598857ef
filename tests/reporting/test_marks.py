"""Two texts as one with marks: both can be read back, and nothing moves the cursor."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.reporting.marks import marked, visible

WORDS = st.lists(st.sampled_from(["the", "fox", "狐", "นก", "a", ",", "ran"]), max_size=8)
TEXTS = st.tuples(WORDS, st.sampled_from(["", " "])).map(lambda pair: pair[1].join(pair[0]))


@given(old=TEXTS, new=TEXTS)
def test_both_texts_can_be_read_back(old, new):
    both = marked(old, new)
    if "…" in both:
        return  # what is equal was shortened
    assert re.sub(r"\[-|-\]", "", re.sub(r"\{\+.*?\+\}", "", both)) == old
    assert re.sub(r"\{\+|\+\}", "", re.sub(r"\[-.*?-\]", "", both)) == new


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        ("the quick fox", "the slow fox", "the [-quick-]{+slow+} fox"),
        ("one two", "three four", "[-one two-]{+three four+}"),
        ("今天很好", "今天不好", "今天[-很-]{+不+}好"),
        ("", "new", "{+new+}"),
        ("same", "same", "same"),
    ],
)
def test_changes_are_marked_by_word(old, new, both):
    assert marked(old, new) == both


def test_long_stretches_that_are_equal_are_shortened():
    words = [f"w{k}" for k in range(100)]
    both = marked(" ".join(words), " ".join([*words[:50], "x", *words[51:]]))

    assert both == "…w46 w47 w48 w49 [-w50-]{+x+} w51 w52 w53 w54…"


@given(text=st.text())
def test_no_control_character_is_shown(text):
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", visible(text))
