"""The errors this package raises; anything else that escapes is a bug of ours.

    SllmDataError                 a sentence for the user: where, expected, found, what to do
    ├── ConfigError               run.yaml, --set, or a recipe says something impossible
    ├── CorpusError               a corpus folder, table or listing can't be read
    ├── PoolError                 an instruction pool or a prompt template is unusable
    ├── ModelError                a model folder lacks a tokenizer, a template, or weights
    ├── EngineError               the engine can't start, died, or gave up on a server
    ├── ShardError                a Parquet part or a manifest is not what its contract says
    ├── TrainingError             a training can't begin, go on, or has come to no number
    ├── OutputError               the output folder can't be used: locked, full, other run
    ├── StorageError              object storage can't be reached, refuses, or lost something
    │   └── StorageAwayError      it did not answer for as long as it was waited for
    └── RejectedError             too many rows were rejected (max_rejected_fraction), or a
                                  run would take more than its budget

A single unusable row is no error: it becomes a `records.Rejection`, counted and kept.
The command line prints the sentence and exits with status 2, without a traceback.
"""

MAX_SENTENCE = 2_000
"""Characters of an error; of a longer one the beginning and the end are kept."""


def one_line(text: str, *, at_most: int) -> str:
    r"""Returns a text as one printable line, whatever it quotes.

    What can't be printed is shown by its code; of a text that is too long, the beginning and
    the end are left, which say where it happened and what to do.

    >>> print(one_line("a: must be text, got \x1b[31m\n", at_most=80))
    a: must be text, got \x1b[31m\n
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    if len(text) > at_most:
        end = at_most // 4
        text = f"{text[: at_most - end - 5]} ... {text[-end:]}"
    return text


class SllmDataError(Exception):
    """Base of all errors that a user can act on; str() is one clear sentence.

    It is one printable line of at most MAX_SENTENCE characters also where it quotes a file
    that somebody else wrote.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(one_line(sentence, at_most=MAX_SENTENCE))


class ConfigError(SllmDataError):
    """A configuration value is unknown, missing, or out of its range."""


class CorpusError(SllmDataError):
    """A corpus as a whole can't be read: wrong folder, missing table or column."""


class PoolError(SllmDataError):
    """An instruction pool or a prompt template is malformed or unsafe."""


class ModelError(SllmDataError):
    """A model folder or hub id can't be used: no tokenizer, template or weights."""


class EngineError(SllmDataError):
    """The engine can't start, died, or a server kept failing after all retries."""


class ShardError(SllmDataError):
    """A part or a manifest contradicts the contract it was written under."""


class TrainingError(SllmDataError):
    """A training can't begin or go on: no such device, no memory, a loss that is no number."""


class OutputError(SllmDataError):
    """The output can't be used: locked by another run, not writable, or full."""


class StorageError(SllmDataError):
    """Object storage can't be reached, does not allow it, or holds something else."""


class StorageAwayError(StorageError):
    """Object storage was busy or away for as long as anybody waited; it may be back later."""


class RejectedError(SllmDataError):
    """More than was allowed: rows a step rejected (`max_rejected_fraction`), or a `budget`."""
