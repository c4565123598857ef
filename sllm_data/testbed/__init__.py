"""A small spoken world: sentences, voices, corpora in real layouts, and a tiny backbone.

It serves the demo, `doctor` and the tests on machines that reach neither a corpus nor a
model hub. It knows nothing of the pipeline: what it writes are the folders a user would
have downloaded.
"""

from sllm_data.testbed.corpora import write_common_voice, write_librispeech
from sllm_data.testbed.random_backbone import write_random_backbone
from sllm_data.testbed.sentences import sentences
from sllm_data.testbed.speech import Speech, Synthesizer, Word

__all__ = [
    "Speech",
    "Synthesizer",
    "Word",
    "sentences",
    "write_common_voice",
    "write_librispeech",
    "write_random_backbone",
]
