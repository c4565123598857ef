r"""DeSTA2.5-Audio: messages with the transcript of each clip beside it, and the answer apart.

    {"id": "...", "messages": [{"role": "user",
        "content": "Sum this up.\n\n<start_audio><|AUDIO|><end_audio>",
        "audios": [{"audio": "audio/x.flac", "text": "NOAH PAINTED THE BASKETS"}]}],
     "response": "..."}

Its trainer gives the model the transcript as well as the speech, so each stretch must have one:
a whole clip has, a stretch of one has none in `samples/`. The loss is on `response` alone.
Paths are relative to the folder, its `data_root`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sllm_data.exporting.checking import check_keys, check_marks, must, sound_file
from sllm_data.exporting.conversation import (
    Place,
    UnheldError,
    single,
    unmarked,
    with_marks,
)
from sllm_data.exporting.layout import Found, Json, Layout, Target, read_lines, write_lines
from sllm_data.exporting.rows import Row

_MARK = "<|AUDIO|>"
_ENDS = ("<start_audio>", "<end_audio>")


def _encode(row: Row, place: Place) -> Json:
    system, exchange = single(row, system=True)
    if not exchange.heard:
        raise UnheldError("no speech")
    if any(heard.num_samples != heard.facts.num_samples for heard in exchange.heard):
        raise UnheldError("speech and text by turns")
    marks = (_MARK, *_ENDS)
    messages: list[dict[str, Any]] = []  # Any: text, or audios
    if system:
        messages.append({"role": "system", "content": unmarked(system, marks)})
    asked = with_marks(exchange.asked, _MARK, reserved=_ENDS)
    audios = [
        # a space stands for no transcript
        {"audio": place(heard), "text": heard.facts.transcript or " "}
        for heard in exchange.heard
    ]
    content = asked.replace(_MARK, _MARK.join(_ENDS))
    messages.append({"role": "user", "content": content, "audios": audios})
    return {
        "id": row.sample_id,
        "dataset": row.columns["source"]["corpus"],
        "messages": messages,
        "response": unmarked(exchange.answer, marks),
    }


def _write(rows: Iterable[Row], target: Target) -> None:
    files = target.files
    lines = (_encode(row, files.heard) for row in rows)
    write_lines(target.folder / f"{target.stem}.jsonl", lines)


def _check(folder: Path, stem: str) -> Found:
    num_rows = num_stretches = 0
    for where, row in read_lines(folder / f"{stem}.jsonl"):
        check_keys(row, where, id=str, messages=list, response=str)
        for message in row["messages"]:
            check_keys(message, where, role=str, content=str)
        roles = [message["role"] for message in row["messages"]]
        is_right = roles in (["user"], ["system", "user"])
        must(is_right, where, f"roles must be user, or system and user, got {roles}")
        for message in row["messages"]:
            audios = message.get("audios", [])
            must(isinstance(audios, list), where, "audios must be a list")
            check_marks(message["content"], _MARK, len(audios), where)
            for audio in audios:
                check_keys(audio, where, audio=str, text=str)
                must(audio["text"], where, "text must not be empty: a space stands for none")
                sound_file(folder, audio["audio"], where)
            num_stretches += len(audios)
        num_rows += 1
    return Found(rows=num_rows, stretches=num_stretches)


DESTA = Layout(
    reader="DeSTA2.5-Audio",
    holds=lambda row: _encode(row, lambda _heard: ""),
    write=_write,
    check=_check,
    usage="""
# examples/train/config/dataset/mine.yaml of DeSTA2.5-Audio
train_ds:
  data_root: {folder}
  manifest_filepaths: [{folder}/{stem}.jsonl]
""",
)
