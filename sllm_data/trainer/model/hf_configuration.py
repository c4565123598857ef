"""The configuration of an exported model, for transformers.

This file is copied into what is exported: it needs transformers alone.
"""

from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig


class SpeechLMConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers' types are not read
    """A speech encoder, a connector and a language model.

    Args:
        audio_config: Of the Whisper, as a dictionary.
        text_config: Of the language model, as a dictionary.
        connector: The fields of a ConnectorShape.
        taps: After which layers of the encoder the connector reads; none: behind the last.
        max_frames: Of one chunk of a clip.
        pad_to_30s: Whether each chunk is followed by silence as far as the encoder reaches.
        audio_token_index: Which token stands where audio does.
        kwargs: Of any configuration of transformers.
    """

    model_type = "sllm_speech"
    sub_configs: ClassVar[dict[str, Any]] = {"audio_config": AutoConfig, "text_config": AutoConfig}

    def __init__(
        self,
        audio_config: dict[str, Any] | None = None,
        text_config: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.audio_config = _config_of(audio_config, "whisper")
        self.text_config = _config_of(text_config, "llama")
        self.connector: dict[str, Any] = kwargs.pop("connector", {})
        self.taps: list[int] = kwargs.pop("taps", [])
        self.max_frames: int = kwargs.pop("max_frames", 3_000)
        self.pad_to_30s: bool = kwargs.pop("pad_to_30s", False)
        self.audio_token_index: int = kwargs.pop("audio_token_index", 0)
        super().__init__(**kwargs)


class UltravoxConfig(SpeechLMConfig):
    """The same, under the name by which vLLM knows it."""

    model_type = "ultravox"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # transformers would write one for a class without its own


def _config_of(fields: dict[str, Any] | None, otherwise: str) -> PreTrainedConfig:
    given = dict(fields or {})
    return CONFIG_MAPPING[given.get("model_type", otherwise)](**given)
