"""Corpora in, candidates and opened utterances out.

config            what run.yaml says about a corpus, and the bounds of a usable clip
reading           read_corpus: lists one corpus entry as candidates and rejections
librispeech, common_voice    the layouts, each with the tables it knows
manifest          lists of audio in files, archives and long files
huggingface       what datasets.load_dataset reads; its modules import datasets, which takes
                  seconds, so they are imported where an entry is of that kind
opening           open_candidates: reads, hashes and decodes the audio of candidates
cutting           segments of long files, cut and encoded
sources, archives where the bytes of a clip are: plain files, members of a tar or zip

Weights, limits and samples are only carried here: they need the whole list, which the
listing step has. Duplicates between corpora and splits are settled by the global pass.
"""
