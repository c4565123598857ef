"""One corpus entry in, its candidates and rejections out: the door to all layouts.

Audio is not opened here, and nothing is drawn or sorted: the listing step does that over
all entries of a run.
"""

from collections.abc import Iterator

from sllm_data.corpora.common_voice import read_common_voice
from sllm_data.corpora.config import (
    CorpusConfig,
    HuggingFaceConfig,
    LibriSpeechConfig,
    ManifestConfig,
)
from sllm_data.corpora.librispeech import read_librispeech
from sllm_data.corpora.manifest import read_manifest
from sllm_data.records import Candidate, Rejection


def read_corpus(
    config: CorpusConfig, *, entry: int, speaker_salt: str
) -> Iterator[Candidate | Rejection]:
    """Lists one corpus entry, in an order that depends on the corpus and the entry only.

    Args:
        config: The entry.
        entry: Its position in the run's configuration, from 0.
        speaker_salt: Mixed into the hashes of speakers where a corpus forbids identifying
            people; the same salt gives the same ids in another run.

    Raises:
        CorpusError: The corpus can't be read: wrong or empty folder, unknown subset or
            locale, missing table or column. Most of it is raised by this call, what shows
            only half-way (an unreadable folder) while iterating.
    """
    if isinstance(config, LibriSpeechConfig):
        return read_librispeech(config, entry=entry)
    if isinstance(config, ManifestConfig):
        return read_manifest(config, entry=entry, speaker_salt=speaker_salt)
    if isinstance(config, HuggingFaceConfig):
        from sllm_data.corpora.huggingface import (  # noqa: PLC0415 - datasets takes seconds
            read_huggingface,
        )

        return read_huggingface(config, entry=entry, speaker_salt=speaker_salt)
    return read_common_voice(config, entry=entry, speaker_salt=speaker_salt)
