"""Text and audio to what an exported model reads, for transformers and for vLLM.

This file is copied into what is exported: it needs numpy, torch and transformers alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature, ProcessorMixin

AUDIO_TOKEN = "<|audio|>"  # noqa: S105 - a mark in a text
_MIN_SAMPLES = 400


class SpeechLMProcessor(ProcessorMixin):  # type: ignore[misc]  # transformers' types are not read
    """Features of clips at their true length, and as many places for them in the text.

    Args:
        feature_extractor: Whisper's.
        tokenizer: Of the LLM; it knows `<|audio|>` as one token.
        max_frames: Of one chunk of a clip.
        window: Positions of the encoder in one window of the connector.
        queries: Positions of the LLM for each window.
        chat_template: Of the LLM.
    """

    def __init__(
        self,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        max_frames: int = 3_000,
        window: int = 8,
        queries: int = 1,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)
        self.max_frames = max_frames
        self.window = window
        self.queries = queries
        self.audio_token_id: int = tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)

    @property
    def audio_processor(self) -> Any:
        """The name under which vLLM looks for the feature extractor."""
        return self.feature_extractor

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        audio: Sequence[np.ndarray[Any, Any]] | None = None,
        *,
        audios: Sequence[np.ndarray[Any, Any]] | None = None,
        sampling_rate: int = 16_000,
        **_: Any,
    ) -> BatchFeature:
        """Returns input_ids, attention_mask, audio_values, audio_lens and their like.

        Args:
            text: One prompt or several, already in the chat template; `<|audio|>` stands for
                each clip.
            audio: float32 (num_samples,) each, mono, 1.0 is full scale; in the order of texts.
            audios: vLLM's name for `audio`.
            sampling_rate: Of the clips; the encoder's.

        Raises:
            ValueError: The texts have another number of marks than there are clips.
        """
        clips = audio if audio is not None else audios
        given = list(clips) if clips is not None else []
        data: dict[str, Tensor] = {}
        positions: list[int] = []
        if given:
            data, positions = self._heard(given, sampling_rate)
        if text is not None:
            data |= self._written([text] if isinstance(text, str) else list(text), positions)
        return BatchFeature(data)

    def _heard(
        self, clips: Sequence[np.ndarray[Any, Any]], sampling_rate: int
    ) -> tuple[dict[str, Tensor], list[int]]:
        chunks, positions, per_chunk, counts = [], [], [], []
        for clip in clips:
            samples = np.asarray(clip, dtype=np.float32)
            samples = np.pad(samples, (0, max(0, _MIN_SAMPLES - len(samples))))
            features = self.feature_extractor(
                samples,
                sampling_rate=sampling_rate,
                padding="do_not_pad",
                truncation=False,
                return_tensors="np",
            )["input_features"][0]
            parts = torch.from_numpy(features).split(self.max_frames, dim=1)
            ends = np.cumsum([part.shape[1] for part in parts])
            # a window may lie across the border of two chunks: counts are differences of sums
            reached = [-(-((int(end) + 1) // 2) // self.window) * self.queries for end in ends]
            chunks += parts
            per_chunk += np.diff([0, *reached]).tolist()
            positions.append(reached[-1])
            counts.append(len(parts))
        longest = max(chunk.shape[1] for chunk in chunks)
        values = torch.stack([pad(chunk, (0, longest - chunk.shape[1])) for chunk in chunks])
        data = {
            "audio_values": values,
            "audio_lens": torch.tensor([chunk.shape[1] for chunk in chunks]),
            "audio_token_len": torch.tensor(per_chunk),
            "audio_num_chunks": torch.tensor(counts),
        }
        return data, positions

    def _written(self, texts: Sequence[str], positions: Sequence[int]) -> dict[str, Tensor]:
        rest = list(positions)
        rows = []
        for text in texts:
            ids: list[int] = []
            for token in self.tokenizer(text, add_special_tokens=False)["input_ids"]:
                times = 1
                if token == self.audio_token_id:
                    if not rest:
                        raise ValueError(
                            f"there must be a clip for each {AUDIO_TOKEN} of the text, got "
                            f"{len(positions)} clips"
                        )
                    times = rest.pop(0)
                ids += [token] * times
            rows.append(torch.tensor(ids))
        if rest:
            raise ValueError(
                f"the text must have {AUDIO_TOKEN} for each clip, {len(rest)} clips have none"
            )
        masks = [torch.ones_like(row) for row in rows]
        return {
            "input_ids": pad_sequence(rows, batch_first=True, padding_side="left"),
            "attention_mask": pad_sequence(masks, batch_first=True, padding_side="left"),
        }
