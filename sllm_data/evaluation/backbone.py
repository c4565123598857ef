"""The LLM of a trained model as it was before the training."""

from collections.abc import Iterator
from contextlib import contextmanager

from sllm_data.trainer.model.llm import load_llm
from sllm_data.trainer.model.lora import without_lora
from sllm_data.trainer.model.speech_lm import SpeechLM


@contextmanager
def as_backbone(model: SpeechLM) -> Iterator[None]:
    """Lets a model read with the LLM that it began with.

    Where the LLM was trained as a whole, the original is loaded beside it for that time; LoRA is
    switched off; one that was frozen is what it was.

    Raises:
        ModelError: The original is not where it was.
    """
    mode = model.config.llm.mode
    if mode == "lora":
        with without_lora(model.llm):
            yield
    elif mode == "full":
        trained = model.llm
        original = model.original
        if original is None:
            original = load_llm(model.config.llm, dtype=model.dtype).to(model.device).eval()
        model.llm = original
        try:
            yield
        finally:
            model.llm = trained
    else:
        yield
