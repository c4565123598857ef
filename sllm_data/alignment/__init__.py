"""When each word of an utterance is said: imported, by pocketsphinx, or by a CTC model.

units       the words of a transcript
imports     times that others made: condensed, TextGrid, CTM; `matching` fits their words
sphinx      English, offline; `pronunciation` for words that its dictionary lacks
ctc         any model trained by CTC
aligner     chooses among them, and judges what comes out
"""
