"""Splits by speaker: nobody is heard in two of them."""

from sllm_data.sampling.config import SplitConfig
from sllm_data.seeding import uniform


def split_of_speaker(config: SplitConfig, *, seed: int, corpus: str, speaker_id: str) -> str:
    """Returns the split of a speaker by hash: the same for every row, run and order.

    >>> config = SplitConfig(validation=0, test=0)
    >>> split_of_speaker(config, seed=1, corpus="librispeech", speaker_id="19")
    'train'
    """
    point = uniform(seed, "split", corpus, speaker_id)
    if point < config.test:
        return "test"
    if point < config.test + config.validation:
        return "validation"
    return "train"
