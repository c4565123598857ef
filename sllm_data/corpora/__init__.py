"""Corpora in, candidates and opened utterances out.

config            what run.yaml says about a corpus, and the bounds of a usable clip
reading           read_corpus: lists one corpus entry as candidates and rejections
librispeech, common_voice    the layouts, each with the tables it knows
opening           open_candidate: reads, hashes and decodes the audio of one candidate

Weights, limits and samples are only carried here: they need the whole list, which the
listing step has. Duplicates between corpora and splits are settled by the global pass.
"""
