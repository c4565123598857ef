"""Trains a speech encoder, a connector and a text LLM on `samples/` and `audio/` alone.

    data/       rows of a dataset, in seeded order, become packs of exactly counted positions
    geometry    how many positions a clip takes: the one place for that arithmetic
    batch       PackedBatch: what data hands to model
    model/      encoder, connector, LLM; losses; answers

It knows rows, not recipes: what is trained is what `supervised` marks.
"""
