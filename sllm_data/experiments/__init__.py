"""Whole studies on the small spoken world: build data, train, evaluate, compare.

    world (speech, dataset by vLLM) ─┬─> arm: train ─> evaluate ─┐
                                     ├─> arm: train ─> evaluate ─┼─> one table, one picture
                                     └─> ...                     ┘

Each part is a command of this package, run as a user would; what is finished is not done again.
"""
