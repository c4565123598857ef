"""Samples as HTML: what is asked with players for the speech, the text twin, provenance."""

import base64

from sllm_data.audio.decode import UndecodableAudioError, decode
from sllm_data.audio.segments import as_flac
from sllm_data.reporting.report.examples import Example, Row
from sllm_data.reporting.report.markup import details, facts, text

_PLAYABLE = {
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav/pcm_16": "audio/wav",
    "wav/pcm_24": "audio/wav",
    "wav/pcm_u8": "audio/wav",
}
"""By container, or by codec where browsers play some of a container's only."""


class Players:
    """Puts clips into a page, up to a number of bytes; the others are counted.

    Args:
        max_bytes: Of all players together, as they stand in the page.
    """

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self.left_out = 0

    def player(self, span: Row, clip: Row) -> str:
        """Returns a player of what a span hears of a clip; where there can be none, says why."""
        rate, start = clip["sampling_rate"], span["start_sample"]
        end = start + span["num_samples"]
        label = f"speech, {start / rate:.2f} to {end / rate:.2f} s"
        try:
            kind, content = _sound(clip, start, end)
        except UndecodableAudioError as error:
            return f'<span class="note">[{text(label)}: no player, {text(str(error))}]</span>'
        encoded = base64.b64encode(content).decode()
        if len(encoded) > self._left:
            self.left_out += 1
            return f'<span class="note">[{text(label)}: left out, the page is large enough]</span>'
        self._left -= len(encoded)
        return (
            f'<audio controls preload="metadata" aria-label="{text(label)}" title="{text(label)}" '
            f'src="data:{kind};base64,{encoded}"></audio>'
        )


def _sound(clip: Row, start: int, end: int) -> tuple[str, bytes]:
    """The clip as it is stored where all of it is heard and browsers play it, else FLAC.

    Raises:
        UndecodableAudioError: It can't be decoded, or FLAC has no room for its rate or channels.
    """
    content: bytes = clip["audio"]["bytes"]
    kind = _PLAYABLE.get(clip["codec"]) or _PLAYABLE.get(clip["codec"].partition("/")[0])
    if kind and (start, end) == (0, clip["num_samples"]):
        return kind, content
    return "audio/flac", as_flac(decode(content).samples[start:end], clip["sampling_rate"])


def sample(example: Example, players: Players, *, dataset: str) -> str:
    """Returns one sample; the dataset is named where there are two."""
    row = example.row
    turns = "".join(
        f'<div class="turn"><b>{text(turn["role"])}</b> '
        f"{''.join(_span(span, example, players) for span in turn['content'])}</div>"
        for turn in row["messages"]
    )
    twin = "".join(
        f'<div class="turn"><b>{text(turn["role"])}</b> '
        f'<span class="text">{text(turn["content"])}</span></div>'
        for turn in row["text_messages"]
    )
    return (
        f'<div class="sample"><h4>{text(dataset)} <small>{text(row["sample_id"])}</small></h4>'
        f"{turns}"
        f'<div class="turn"><b>transcript</b> <span class="text" lang="{text(row["language"])}">'
        f"{text(row['transcript'])}</span></div>{details('text twin', twin)}"
        f"{details('provenance', facts(_provenance(row)))}</div>"
    )


def _span(span: Row, example: Example, players: Players) -> str:
    if span["type"] == "audio":
        return players.player(span, example.clips[span["audio_index"]])
    content = text(span["text"] or "")
    if not span["supervised"]:
        return f'<span class="text">{content}</span>'
    return f'<mark class="text" lang="{text(example.row["response_language"])}">{content}</mark>'


def _provenance(row: Row) -> dict[str, object]:
    generator, source, quality = row["generator"], row["source"], row["quality"]
    speakers = (
        " ".join(str(value) for value in speaker.values() if value)
        for speaker in row["speakers"]
        if speaker
    )
    seen = (f"{name} {value:g}" for name, value in quality.items() if _is_number(value))
    return {
        "sample": row["sample_id"],
        "clips": ", ".join(ref["audio_id"] for ref in row["audio_refs"]),
        "speakers": ", ".join(filter(None, speakers)) or "unknown",
        "source": f"{source['corpus']} {source['version']}, {source['licence']}, "
        f"{source['attribution']}",
        "split": f"{row['split']}, {row['eval_group']}",
        "wording": f"{row['instruction_id']} {row['task_params']}, template {row['template_id']}",
        "backbone": f"{generator['model']} {generator['revision']}",
        "engine": f"{generator['engine']} {generator['engine_version']}, prompts as "
        f"{generator['prompt_mode']}, {generator['determinism']}",
        "sampling": f"{generator['sampling']}, seed {generator['seed']}",
        "request": generator["request_key"] or "none: the transcript is the answer",
        "response": f"{row['num_response_tokens']} tokens, {row['response_language']}, ended by "
        f"{row['finish_reason']}",
        "quality": ", ".join((str(quality["verdict"]), *seen)),
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
