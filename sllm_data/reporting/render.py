"""Samples as a page that can be looked at and listened to, and as one WAV each.

The page is one file without outside requests: audio is in it, as WAV. Text of the dataset is
escaped; it is never markup.
"""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from sllm_data.audio.decode import DecodedClip, decode
from sllm_data.errors import ShardError
from sllm_data.files import atomic_path, write_text
from sllm_data.shards import part_name, read_part

Row = dict[str, Any]  # Any: values of the samples, audio and alignments tables
Samples = npt.NDArray[np.int16]

_BINS = 900
_PAUSE_S = 0.4  # in the WAV, where the row is read

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
section {{ border-top: 2px solid; padding: 1rem 0; }}
h2 {{ font-size: 1rem; overflow-wrap: anywhere; }}
.turn {{ margin: .5rem 0; padding: .5rem .75rem; border-left: .25rem solid #8886; }}
.text {{ white-space: pre-wrap; }}
.supervised {{ background: #4a73; }}
audio {{ vertical-align: middle; height: 2rem; }}
svg {{ width: 100%; height: auto; background: #8881; }}
.heard {{ fill: #48f4; }} .wave {{ stroke: currentColor; stroke-width: 1; }}
.cut {{ stroke: #e33; stroke-width: 1.5; }} svg text {{ fill: currentColor; font-size: 11px; }}
dt {{ float: left; clear: left; width: 9rem; opacity: .7; }} dd {{ margin-left: 9rem; }}
</style></head><body><h1>{title}</h1>
<p>Blue is heard, red lines are cuts, green text is trained.</p>
{sections}
</body></html>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Clip:
    decoded: DecodedClip
    words: Sequence[Row]
    """As aligned; empty where the dataset has no word times."""


def render_samples(root: Path, sample_ids: Sequence[str], output: Path) -> list[Path]:
    """Writes samples as `index.html`, and each as `<sample_id>.wav`.

    Args:
        root: The dataset.
        sample_ids: Ids, or their beginnings.
        output: Folder to write to; files in it are overwritten.

    Returns:
        The files, the page first.

    Raises:
        ShardError: A sample or its clip is not in the dataset, or can't be decoded.
        OutputError: The folder can't be written.
    """
    found = _samples(root, sample_ids)
    sections, files = [], [output / "index.html"]
    for sample in found:
        clips = [_clip(root, ref) for ref in sample["audio_refs"]]
        sections.append(_section(sample, clips))
        path = output / f"{sample['sample_id']}.wav"
        with atomic_path(path) as temporary:
            temporary.write_bytes(_as_wav(*_heard(sample, clips)))
        files.append(path)
    title = html.escape(f"{len(found)} samples of {root.resolve().name}")
    write_text(files[0], _PAGE.format(title=title, sections="\n".join(sections)))
    return files


def _samples(root: Path, wanted: Sequence[str]) -> list[Row]:
    found: dict[str, Row] = {}
    for path in sorted((root / "samples").glob("part-*.parquet")):
        ids = read_part(path, ["sample_id"]).column("sample_id").to_pylist()
        for prefix in wanted:
            place = next((k for k, name in enumerate(ids) if name.startswith(prefix)), None)
            if place is not None and prefix not in found:
                found[prefix] = read_part(path).slice(place, 1).to_pylist()[0]
    for prefix in wanted:
        if prefix not in found:
            raise ShardError(
                f"{root}: must hold a sample whose id begins with {prefix!r}, found none; the "
                "column sample_id of samples/ has the ids"
            )
    return [found[prefix] for prefix in wanted]


def _clip(root: Path, ref: Row) -> _Clip:
    name, audio_id = part_name(ref["audio_part"]), ref["audio_id"]
    row = _row(root / "audio" / name, audio_id, ["audio_id", "audio"])
    if row is None:
        raise ShardError(f"{root}/audio/{name}: must hold the clip {audio_id}, does not")
    times = root / "alignments" / name
    aligned = _row(times, audio_id, ["audio_id", "words"]) if times.exists() else None
    return _Clip(decoded=decode(row["audio"]["bytes"]), words=aligned["words"] if aligned else ())


def _row(path: Path, audio_id: str, columns: list[str]) -> Row | None:
    try:  # a part of audio/ may hold hundreds of megabytes: only the clip is kept
        table = pq.read_table(path, columns=columns, filters=[("audio_id", "=", audio_id)])
    except (pa.ArrowInvalid, OSError) as error:
        raise ShardError(f"{path}: can't be read: {str(error).splitlines()[0]}") from error
    rows: list[Row] = table.to_pylist()
    return rows[0] if rows else None


def _section(sample: Row, clips: Sequence[_Clip]) -> str:
    facts = {
        "task": sample["task"],
        "kind": " ".join(filter(None, (sample["kind"], sample.get("cut")))),
        "split": f"{sample['split']}, {sample['eval_group']}",
        "speech share": f"{sample['speech_share']:.2f}",
        "clips": ", ".join(ref["audio_id"] for ref in sample["audio_refs"]),
        "transcript": sample["transcript"],
        "shown as": sample["transcript_prepared"],
    }
    listed = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())
    waves = "".join(_wave(clip, _spans(sample, number)) for number, clip in enumerate(clips))
    turns = "".join(_turn(turn, clips) for turn in sample["messages"])
    twin = "".join(
        f'<div class="turn"><b>{_text(turn["role"])}</b> '
        f'<span class="text">{_text(turn["content"])}</span></div>'
        for turn in sample["text_messages"]
    )
    return (
        f"<section><h2>{_text(sample['sample_id'])}</h2><dl>{listed}</dl>{waves}"
        f"<h3>speech</h3>{turns}<h3>text twin</h3>{twin}</section>"
    )


def _turn(turn: Row, clips: Sequence[_Clip]) -> str:
    spans = "".join(_span(span, clips) for span in turn["content"])
    return f'<div class="turn"><b>{_text(turn["role"])}</b> {spans}</div>'


def _span(span: Row, clips: Sequence[_Clip]) -> str:
    if span["type"] != "audio":
        trained = " supervised" if span["supervised"] else ""
        return f'<span class="text{trained}">{_text(span["text"] or "")}</span>'
    samples, rate = _stretch(span, clips)
    content = base64.b64encode(_as_wav(samples, rate)).decode()
    seconds = f"{span['start_sample'] / rate:.2f} to {_end(span) / rate:.2f} s"
    return (
        f'<audio controls preload="metadata" title="{seconds}" aria-label="speech, {seconds}" '
        f'src="data:audio/wav;base64,{content}"></audio>'
    )


def _spans(sample: Row, audio_index: int | None = None) -> list[Row]:
    """The audio spans of a sample, or those of one of its clips."""
    return [
        span
        for turn in sample["messages"]
        for span in turn["content"]
        if span["type"] == "audio" and audio_index in (None, span["audio_index"])
    ]


def _end(span: Row) -> int:
    return int(span["start_sample"] + span["num_samples"])


def _stretch(span: Row, clips: Sequence[_Clip]) -> tuple[Samples, int]:
    clip = clips[span["audio_index"]].decoded
    return clip.samples[span["start_sample"] : _end(span)], clip.sampling_rate


def _heard(sample: Row, clips: Sequence[_Clip]) -> tuple[Samples, int]:
    """All that is heard, in order, with a pause where the row is read."""
    pieces = [_stretch(span, clips) for span in _spans(sample)]
    rate, channels = pieces[0][1], pieces[0][0].shape[1]
    if any((at, piece.shape[1]) != (rate, channels) for piece, at in pieces):
        raise ShardError(
            f"sample {sample['sample_id']}: its clips must have one sampling rate and as many "
            "channels to become one WAV"
        )
    pause = np.zeros((round(_PAUSE_S * rate), channels), np.int16)
    joined = [part for piece, _ in pieces for part in (pause, piece)][1:]
    return np.concatenate(joined), rate


def _wave(clip: _Clip, spans: Sequence[Row]) -> str:
    """Draws a clip: its loudness, what is heard of it, cuts, and words where they are known."""
    samples = np.abs(clip.decoded.samples.astype(np.int32)).max(axis=1)
    total = len(samples)
    edges = np.linspace(0, total, min(_BINS, total) + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(samples, edges) / max(1, int(samples.max()))
    width = len(peaks)

    def at(sample: int) -> str:
        return f"{width * sample / total:.1f}"

    shapes = [
        f'<rect class="heard" x="{at(span["start_sample"])}" y="0" '
        f'width="{at(span["num_samples"])}" height="80"/>'
        for span in spans
    ]
    shapes += [
        f'<line class="wave" x1="{x}" x2="{x}" y1="{40 - high:.1f}" y2="{40 + high:.1f}"/>'
        for x, high in enumerate(38 * peaks)
    ]
    shapes += [
        f'<line class="cut" x1="{at(place)}" x2="{at(place)}" y1="0" y2="80"/>'
        for span in spans
        for place in (span["start_sample"], _end(span))
        if 0 < place < total
    ]
    shapes += [
        f'<text x="{at(word["start_sample"])}" y="{96 + 13 * (number % 3)}">'
        f"{_text(word['text'].strip())}</text>"
        for number, word in enumerate(clip.words)
    ]
    height = 128 if clip.words else 80
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="waveform, '
        f'{total / clip.decoded.sampling_rate:.2f} s">{"".join(shapes)}</svg>'
    )


def _as_wav(samples: Samples, rate: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples, rate, format="WAV", subtype="PCM_16")
    return content.getvalue()


def _text(value: str) -> str:
    return html.escape(value)


def chosen_samples(root: Path, count: int, *, kind: str | None) -> Iterator[str]:
    """Yields the ids of the first samples, or of the first of one kind.

    Raises:
        ShardError: The dataset has none.
    """
    left = count
    for path in sorted((root / "samples").glob("part-*.parquet")):
        for row in read_part(path, ["sample_id", "kind"]).to_pylist():
            if left and kind in (None, row["kind"]):
                left -= 1
                yield row["sample_id"]
    if left == count:
        wanted = f"samples of kind {kind}" if kind else "samples"
        raise ShardError(f"{root}: must hold {wanted}, has none")
