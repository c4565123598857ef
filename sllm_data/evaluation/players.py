"""Rows of a dataset as HTML that can be listened to: what the model was asked, and by whom."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from sllm_data.audio.decode import DecodedClip, decode
from sllm_data.errors import ShardError
from sllm_data.shards import part_name

Row = Mapping[str, Any]  # Any: values of the samples table


def asked(root: Path, row: Row) -> str:
    """Returns the turns before the last answer as HTML, with a player for each audio span.

    Raises:
        ShardError: A clip is not in the dataset.
        UndecodableAudioError: A clip can't be decoded.
    """
    clips = [_clip(root, ref) for ref in row["audio_refs"]]
    turns = row["messages"][:-1]
    return "".join(
        f'<div class="turn"><b>{html.escape(turn["role"])}</b> '
        f"{''.join(_span(span, clips) for span in turn['content'])}</div>"
        for turn in turns
    )


def _clip(root: Path, ref: Row) -> DecodedClip:
    path = root / "audio" / part_name(ref["audio_part"])
    try:  # a part of audio/ may hold hundreds of megabytes: only the clip is kept
        table = pq.read_table(
            path, columns=["audio"], filters=[("audio_id", "=", ref["audio_id"])]
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardError(f"{path}: can't be read: {str(error).splitlines()[0]}") from error
    if not table.num_rows:
        raise ShardError(f"{path}: must hold the clip {ref['audio_id']}, does not")
    return decode(table.column("audio")[0]["bytes"].as_py())


def _span(span: Row, clips: Sequence[DecodedClip]) -> str:
    if span["type"] != "audio":
        return f'<span class="text">{html.escape(span["text"] or "")}</span>'
    clip = clips[span["audio_index"]]
    start = span["start_sample"]
    samples = clip.samples[start : start + span["num_samples"]]
    content = io.BytesIO()
    soundfile.write(content, samples, clip.sampling_rate, format="WAV", subtype="PCM_16")
    seconds = f"{len(samples) / clip.sampling_rate:.2f} s"
    return (
        f'<audio controls preload="metadata" aria-label="speech, {seconds}" '
        f'src="data:audio/wav;base64,{base64.b64encode(content.getvalue()).decode()}"></audio>'
    )
