"""Scores what a speech LLM answers: on speech, on the text twin, and against its backbone.

    predictions   what was answered, raw, one line each: the only input of every score
    config        which metric a task gets; thresholds; a file may change both
    units         a text as the words or characters that an error rate counts
    measures      metrics: counts of one answer, and the score of summed counts
    copying       anchor bias: the answer is the transcript where something else was asked
    following     what can be checked of an answer without knowing the right one
    bootstrap     confidence intervals by drawing rows again, seeded
    tables        cells, groups, pairs: all figures of a set of predictions
    asking        a model and a dataset become predictions
    measured      what is saved beside predictions, and read again: `forced` (what changed rows and
                  plain texts cost), `attended` and `paired` (attention and states inside the
                  model, figures of both in `diagnostics`), `timed` (seconds of a cascade)
    report, page, plots   the figures as text, JSON, one page, and pictures

Every definition, with its source, stands in docs/evaluation.md.
"""
