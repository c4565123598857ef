"""The small spoken world: its words, its stories, and one exact answer for every task."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from sllm_data.files import shipped_folder
from sllm_data.prompting.pools import load_pools
from sllm_data.testbed.answers import HELD_OUT, NOT_SAID, TASKS
from sllm_data.testbed.events import (
    MAX_SENTENCES,
    Event,
    Story,
    dialogue,
    half_of,
    num_sentences,
    stories,
)
from sllm_data.testbed.lexicon import DEEDS, STAYS, marenic, spoken_words

SOLD = next(verb for verb in DEEDS if verb.past == "sold")
WAITED = next(verb for verb in STAYS if verb.past == "waited")
SALE = Event(
    who="the baker",
    verb=SOLD,
    number="three",
    quality="red",
    things="lamps",
    place="market",
    time="on monday",
    feeling="happy",
)
WAIT = Event(who="the baker", verb=WAITED, place="station", feeling="tired")
POOLS = load_pools((shipped_folder("instruction_pools"),))


def test_the_world_has_words_and_sentences_enough():
    assert len(spoken_words()) >= 150
    assert num_sentences() > 1_000_000
    assert len(TASKS) >= 14
    assert TASKS.keys() > HELD_OUT


@given(st.integers(0, 2**31), st.integers(1, MAX_SENTENCES))
def test_stories_are_made_of_spoken_words_in_sentences_of_four_to_twelve(seed, num_events):
    for story in stories(3, seed=seed, num_events=num_events):
        assert set(story.text.split()) <= spoken_words()
        assert len(story.events) == num_events
        assert len({event.who for event in story.events}) == 1
        assert all(4 <= len(event.text.split()) <= 12 for event in story.events)


def test_a_longer_draw_begins_with_the_shorter_one():
    assert stories(40, seed=5)[:15] == stories(15, seed=5)
    assert stories(15, seed=5) != stories(15, seed=6)


def test_what_is_examined_is_never_learnt():
    learnt = {story.text for story in stories(2_000, seed=1, half="train")}
    examined = {story.text for story in stories(500, seed=1, half="test")}
    assert len(learnt) == 2_000
    assert learnt.isdisjoint(examined)
    assert {half_of(text) for text in examined} == {"test"}


def test_more_sentences_than_there_are_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="count must be at most 246,343 for the half test"):
        stories(300_000, seed=1, half="test")
    with pytest.raises(ValueError, match="num_events must be 1 to 4, got 5"):
        stories(1, seed=1, num_events=5)


def test_a_dialogue_alternates_and_its_words_are_spoken_ones():
    for number in range(50):
        turns = dialogue(seed=3, number=number)
        assert 2 <= len(turns) <= 6
        assert [turn.speaker for turn in turns] == [i % 2 for i in range(len(turns))]
        assert {word for turn in turns for word in turn.text.split()} <= spoken_words()
    assert dialogue(seed=3, number=7) == dialogue(seed=3, number=7)


def test_each_task_has_its_one_answer():
    story = Story(events=(SALE, WAIT))
    assert story.text == (
        "the baker sold three red lamps at the market on monday and felt happy then "
        "the baker waited at the station and felt tired"
    )
    words = marenic()
    sale = ("monday", "market", "lamps", "red", "three", "baker", "sold", "happy")
    wait = ("station", "baker", "waited", "tired")
    marenic_text = ", ".join(" ".join(words[word] for word in part) for part in (sale, wait))
    assert {name: task(story) for name, task in TASKS.items()} == {
        "transcription": story.text,
        "repetition": "the baker traded three crimson lamps at the market on monday and felt "
        "joyful then the baker lingered at the station and felt exhausted",
        "keywords": "lamps, market, wait, station, baker",
        "sentiment": "negative",
        "topic": "trade",
        "translation": marenic_text,
        "continuation": "the baker went to the library",
        "summary": "about baker: sold lamps, waited",
        "where": "at the market",
        "when": "on monday",
        "verification": "yes",
        "politeness": "dear baker, could you please sell three red lamps at the market "
        "on monday? thank you",
        "who": "the baker",
        "what": "lamps",
        "opposite": "negative becomes positive",
    }


def test_what_is_not_said_is_answered_as_such():
    story = Story(events=(Event(who="anna", verb=WAITED, feeling="calm"),))
    assert [TASKS[name](story) for name in ("where", "when", "what")] == [NOT_SAID] * 3
    assert TASKS["verification"](story) == "no"


def test_every_marenic_word_means_one_thing():
    words = marenic()
    assert len(set(words.values())) == len(words)
    assert set(words.values()).isdisjoint(spoken_words())


def test_right_answers_are_no_copies_of_the_transcript():
    # word error rate against the transcript; those of transcription and repetition may copy
    for story in stories(300, seed=4):
        heard = story.text.split()
        for name in TASKS.keys() - {"transcription", "repetition"}:
            distance = Levenshtein.distance(TASKS[name](story).split(), heard)
            assert distance / len(heard) >= 0.2, (name, story.text)


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_a_pool_of_eight_wordings(task):
    pool = POOLS.get(task, "en-testbed")
    assert len(pool.instructions) == 8
    assert sum(instruction.held_out for instruction in pool.instructions) == 2
