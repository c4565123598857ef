"""From the rows of a dataset to packs of exactly counted positions.

    reading       rows of `samples/`, and what the headers of `audio/` say: no audio is opened
    conversation  a row becomes tokens, labels and stretches of audio; so does a prompt
    planning      which rows stand in which pack, from lengths alone, for ever
    building      clips are decoded, features computed, a PackedBatch made
    loader        workers that build ahead, in the order of the plan

A row's order, pack and place depend on the seed and the data: not on the number of workers, and
not on where a run was killed.
"""
