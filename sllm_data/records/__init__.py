"""The frozen values that pass between stages, and the words of this package.

utterance     one recorded sentence with its transcript
corpus        what is read; a *candidate* is an utterance that was listed but not yet decoded
task          what is asked (transcription, translation, ...)
instruction   one wording of a task; *pool*: the instructions of a task
template      Jinja2 text that renders a prompt
recipe        a named configuration that reproduces one published system
request       a rendered prompt with its sampling parameters
response      what the backbone answered; *backbone*: the text LLM; *engine*: what runs it
alignment     when each word of an utterance is said
sample        one training row; *span*: a stretch of its content, text or audio
part          one Parquet file of a step
rejection     a row that was dropped, with its reason
dataset       the folder that a run writes

A record that exists is valid: `__post_init__` raises ValueError with its id, and nobody
checks again later.
"""

from sllm_data.records.alignment import AlignedWord
from sllm_data.records.rejection import Reason, Rejection
from sllm_data.records.request import PASSES, Message, Pass, Request, Response, Sampling
from sllm_data.records.sample import Generator, Quality, Sample, Span, Turn
from sllm_data.records.utterance import Candidate, IndexRow, Source, Speaker, Utterance

__all__ = [
    "PASSES",
    "AlignedWord",
    "Candidate",
    "Generator",
    "IndexRow",
    "Message",
    "Pass",
    "Quality",
    "Reason",
    "Rejection",
    "Request",
    "Response",
    "Sample",
    "Sampling",
    "Source",
    "Span",
    "Speaker",
    "Turn",
    "Utterance",
]
