"""A pack as two packs of half as many conversations, for a GPU whose memory is too small.

Losses are sums over labels, so two halves give the gradients of the whole, one after the other.
"""

from dataclasses import replace

from sllm_data.trainer.batch import PackedBatch, PackedText


def halves_of(batch: PackedBatch) -> tuple[PackedBatch, PackedBatch] | None:
    """Cuts a pack between the two conversations that are nearest to its middle.

    Returns:
        Both parts, in their order; None where there is only one conversation.
    """
    ends = batch.text.lengths.cumsum(0)[:-1].tolist()
    if not ends:
        return None
    middle = len(batch.text.token_ids) / 2
    number, cut = min(enumerate(ends, 1), key=lambda found: abs(found[1] - middle))
    first, second = _cut_text(batch.text, number)
    num_filled = int((batch.audio_positions < cut).sum())
    filled = batch.clip_positions.cumsum(0)
    clips = int((filled <= num_filled).sum())
    frames = int(batch.clip_frames[:clips].sum())
    share = frames / max(1, len(batch.features))
    twins = (None, None) if batch.twin is None else _cut_text(batch.twin, number)
    return (
        replace(
            batch,
            text=first,
            audio_positions=batch.audio_positions[:num_filled],
            features=batch.features[:frames],
            clip_frames=batch.clip_frames[:clips],
            clip_positions=batch.clip_positions[:clips],
            twin=twins[0],
            sample_ids=batch.sample_ids[:number],
            audio_seconds=batch.audio_seconds * share,
        ),
        replace(
            batch,
            text=second,
            audio_positions=batch.audio_positions[num_filled:] - cut,
            features=batch.features[frames:],
            clip_frames=batch.clip_frames[clips:],
            clip_positions=batch.clip_positions[clips:],
            twin=twins[1],
            sample_ids=batch.sample_ids[number:],
            audio_seconds=batch.audio_seconds * (1 - share),
        ),
    )


def _cut_text(text: PackedText, number: int) -> tuple[PackedText, PackedText]:
    cut = int(text.lengths[:number].sum())
    labels = int((text.label_positions < cut).sum())
    return (
        PackedText(
            token_ids=text.token_ids[:cut],
            position_ids=text.position_ids[:cut],
            lengths=text.lengths[:number],
            label_positions=text.label_positions[:labels],
            labels=text.labels[:labels],
        ),
        PackedText(
            token_ids=text.token_ids[cut:],
            position_ids=text.position_ids[cut:],
            lengths=text.lengths[number:],
            label_positions=text.label_positions[labels:] - cut,
            labels=text.labels[labels:],
        ),
    )
