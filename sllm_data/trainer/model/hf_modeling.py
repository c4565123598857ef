"""An exported model, for transformers: what the trainer computes, one clip after the other.

This file is copied into what is exported: it needs torch, transformers and the two files that
are copied with it. The names of its weights are those that vLLM's UltravoxModel reads.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, pad
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .connectors import ConnectorShape, new_connector
from .hf_configuration import SpeechLMConfig, UltravoxConfig

_FLOOR, _DEPTH = -1.5, 2.0  # what Whisper's features make of silence


class SpeechLMModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]  # types not read
    """Whisper's encoder, a connector, a causal LM; `generate` answers."""

    config_class: type[SpeechLMConfig] = SpeechLMConfig
    main_input_name = "input_ids"
    _supports_sdpa = True

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__(config)
        self.audio_tower = WhisperEncoder(config.audio_config)
        self.multi_modal_projector = new_connector(ConnectorShape(**config.connector), scale=1.0)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> Any:  # Any: as transformers has it
        """Returns the LLM's."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:  # Any: as transformers has it
        """Returns the LLM's."""
        return self.language_model.get_output_embeddings()

    def hear(self, audio_values: Tensor, audio_lens: Tensor, audio_num_chunks: Tensor) -> Tensor:
        """Returns the positions of the LLM that clips become: shape (A, H).

        Args:
            audio_values: Shape (chunks, mels, frames), zero behind the end of a chunk.
            audio_lens: int64 (chunks,): frames of each.
            audio_num_chunks: int64 (clips,): chunks of each clip.
        """
        heard = []
        chunks = [
            values[:, :length]
            for values, length in zip(audio_values, audio_lens.tolist(), strict=True)
        ]
        for count in audio_num_chunks.tolist():
            clip, chunks = chunks[:count], chunks[count:]
            loudest = torch.stack([chunk.max() for chunk in clip]).max()
            silence = float((loudest - _DEPTH).clamp(min=_FLOOR))
            states = torch.cat([self._encode(chunk, silence) for chunk in clip], dim=1)
            heard.append(self.multi_modal_projector(states, [states.shape[1]]))
        return torch.cat(heard)

    def _encode(self, frames: Tensor, silence: float) -> Tensor:
        """Returns the states of one chunk: shape (taps, positions, hidden)."""
        tower = self.audio_tower
        kept = (frames.shape[1] + 1) // 2
        if self.config.pad_to_30s:
            missing = 2 * self.config.audio_config.max_source_positions - frames.shape[1]
            frames = pad(frames, (0, missing), value=silence)
        states = gelu(tower.conv1(frames[None].to(tower.conv1.weight.dtype)))
        states = gelu(tower.conv2(states)).transpose(1, 2)
        states = states + tower.embed_positions.weight[: states.shape[1]]
        tapped = []
        for number, layer in enumerate(tower.layers, start=1):
            states = layer(states, None)
            if number in self.config.taps:
                tapped.append(states)
        found = torch.cat(tapped) if tapped else tower.layer_norm(states)
        return found[:, :kept]

    def embed(
        self,
        input_ids: Tensor,
        *,
        audio_values: Tensor | None = None,
        audio_lens: Tensor | None = None,
        audio_num_chunks: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Returns what enters the LLM: shape (batch, length, H).

        Another engine answers from it, where that knows the LLM and takes prompts as embeddings.

        Args:
            input_ids: int64 (batch, length), `audio_token_index` where audio stands.
            audio_values: See hear.
            audio_lens: See hear.
            audio_num_chunks: See hear.

        Raises:
            ValueError: There are more or fewer places for audio than the clips fill.
        """
        places = input_ids == self.config.audio_token_index
        embeds: Tensor = self.get_input_embeddings()(input_ids.masked_fill(places, 0))
        if audio_values is None or not bool(places.any()):  # of later tokens none is audio
            return embeds
        heard = self.hear(audio_values, audio_lens, audio_num_chunks)
        if len(heard) != int(places.sum()):
            raise ValueError(
                f"input_ids must have {len(heard)} places for this audio, got {int(places.sum())}"
            )
        return embeds.masked_scatter(places[..., None], heard.to(embeds.dtype))

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        audio_values: Tensor | None = None,
        audio_lens: Tensor | None = None,
        audio_num_chunks: Tensor | None = None,
        audio_token_len: Tensor | None = None,  # noqa: ARG002 - vLLM wants it from the processor
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:  # Any: an output of transformers
        """Returns what the causal LM returns.

        Args:
            input_ids: See embed.
            audio_values: See hear.
            audio_lens: See hear.
            audio_num_chunks: See hear.
            audio_token_len: Not read.
            inputs_embeds: In place of all the above.
            kwargs: Of the causal LM.

        Raises:
            ValueError: There are more or fewer places for audio than the clips fill.
        """
        if inputs_embeds is None and input_ids is not None:
            inputs_embeds = self.embed(
                input_ids,
                audio_values=audio_values,
                audio_lens=audio_lens,
                audio_num_chunks=audio_num_chunks,
            )
        return self.language_model(inputs_embeds=inputs_embeds, **kwargs)


class UltravoxModel(SpeechLMModel):
    """The same, under the name by which vLLM knows it."""

    config_class = UltravoxConfig
