"""NVIDIA NeMo: manifests of conversations, and of single questions, with offset and duration.

    nemo         {"id": "...", "conversations": [
                   {"from": "User", "type": "text", "value": "Sum this up."},
                   {"from": "User", "type": "audio", "value": "audio/x.flac",
                    "offset": 0.0, "duration": 3.4},
                   {"from": "Assistant", "type": "text", "value": "..."}]}
    nemo-single  {"audio_filepath": "audio/x.flac", "offset": 0.0, "duration": 3.4,
                  "context": "Sum this up.", "answer": "..."}

A stretch is the clip's file with an offset: nothing is cut, but of MP3 and its like, in which no
position is sure. The conversations keep the order of
text and speech; the single form has one text, which NeMo puts in front of the speech. Paths are
relative to the manifest, which NeMo resolves.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sllm_data.exporting.checking import check_keys, check_stretch, must, sound_file
from sllm_data.exporting.clips import ClipFiles
from sllm_data.exporting.conversation import (
    conversation_of,
    instruction_beside,
    one_stretch,
    single,
    unmarked,
)
from sllm_data.exporting.layout import Found, Json, Layout, Target, read_lines, write_lines
from sllm_data.exporting.rows import Heard, Row, Text

_MARKS = ("<|audioplaceholder|>", "<|audio|>")  # what its configurations call speech
_ROLES = {"user": "User", "assistant": "Assistant", "system": "System"}


def _conversation(row: Row, files: ClipFiles | None) -> Json:
    conversation = conversation_of(row)
    turns: list[Json] = []
    if conversation.system:
        turns += _texts("system", conversation.system)
    for exchange in conversation.exchanges:
        for span in exchange.asked:
            if isinstance(span, Text):
                turns += _texts("user", span.text)
            else:
                placed = {"value": ""} if files is None else _placed(span, files, key="value")
                turns.append({"from": "User", "type": "audio"} | placed)
        turns += _texts("assistant", exchange.answer)
    custom = {"kind": row.kind, "task": row.task, "language": row.columns["language"]}
    return {"id": row.sample_id, "conversations": turns, "custom": custom}


def _texts(role: str, text: str) -> Iterator[Json]:
    if text.strip():
        yield {"from": _ROLES[role], "type": "text", "value": unmarked(text, _MARKS)}


def _placed(heard: Heard, files: ClipFiles, *, key: str) -> Json:
    if not heard.is_found_in_file:  # nor has a manifest a word for a level
        return {key: files.heard(heard), "offset": 0.0, "duration": heard.duration_s}
    name = files.clip(heard.clip, heard.facts)
    return {key: name, "offset": heard.offset_s, "duration": heard.duration_s}


def _single(row: Row, files: ClipFiles | None) -> Json:
    system, exchange = single(row, system=True)
    heard = one_stretch(exchange)
    context, _ = instruction_beside(exchange)
    named = {"sample_id": row.sample_id, "kind": row.kind, "task": row.task}
    # NeMo makes an empty turn of an empty context
    said = {"context": context} if context else {}
    if system:
        said["system_prompt"] = system
    for text in (*said.values(), exchange.answer):
        unmarked(text, _MARKS)
    placed = {} if files is None else _placed(heard, files, key="audio_filepath")
    answered = {"answer": exchange.answer, "lang": row.columns["language"]}
    return placed | said | answered | named


def _write_conversations(rows: Iterable[Row], target: Target) -> None:
    files = target.files
    write_lines(
        target.folder / f"{target.stem}.jsonl", (_conversation(row, files) for row in rows)
    )


def _write_single(rows: Iterable[Row], target: Target) -> None:
    files = target.files
    write_lines(target.folder / f"{target.stem}.jsonl", (_single(row, files) for row in rows))


def _check_conversations(folder: Path, stem: str) -> Found:
    num_rows = num_stretches = 0
    for where, row in read_lines(folder / f"{stem}.jsonl"):
        check_keys(row, where, id=str, conversations=list)
        roles = []
        for number, turn in enumerate(row["conversations"]):
            at = f"{where}: turn {number}"
            check_keys(turn, at, value=str, type=str, **{"from": str})
            must(turn["from"] in _ROLES.values(), at, "from must be User, Assistant or System")
            must(turn["type"] in ("text", "audio"), at, "type must be text or audio")
            roles.append(turn["from"])
            if turn["type"] == "audio":
                must(turn["from"] == "User", at, "audio must be from User")
                _check_audio(folder, turn["value"], turn, at)
                num_stretches += 1
        must("User" in roles, where, "must have a turn from User")
        must(roles and roles[-1] == "Assistant", where, "must end with a turn from Assistant")
        must("System" not in roles[1:], where, "System must come first")
        num_rows += 1
    return Found(rows=num_rows, stretches=num_stretches)


def _check_single(folder: Path, stem: str) -> Found:
    num_rows = 0
    for where, row in read_lines(folder / f"{stem}.jsonl"):
        check_keys(row, where, audio_filepath=str, answer=str, sample_id=str)
        must(row.get("context") != "", where, "context must not be empty where it is given")
        _check_audio(folder, row["audio_filepath"], row, where)
        num_rows += 1
    return Found(rows=num_rows, stretches=num_rows)


def _check_audio(folder: Path, name: str, row: Json, where: str) -> None:
    check_keys(row, where, offset=float, duration=float)
    check_stretch(sound_file(folder, name, where), row["offset"], row["duration"], where)


NEMO = Layout(
    reader="NVIDIA NeMo speechlm2 (SALM), several turns",
    holds=lambda row: _conversation(row, None),
    write=_write_conversations,
    check=_check_conversations,
    usage="""
data:
  train_ds:
    input_cfg:
      - type: multimodal_conversation
        manifest_filepath: {folder}/{stem}.jsonl
        audio_locator_tag: "<|audioplaceholder|>"
    token_equivalent_duration: 0.08
""",
)
NEMO_SINGLE = Layout(
    reader="NVIDIA NeMo speechlm2 (SALM), single turn",
    holds=lambda row: _single(row, None),
    write=_write_single,
    check=_check_single,
    usage="""
data:
  train_ds:
    input_cfg:
      - type: lhotse_as_conversation
        manifest_filepath: {folder}/{stem}.jsonl
        text_field: answer
        lang_field: lang
        audio_locator_tag: "<|audioplaceholder|>"
    token_equivalent_duration: 0.08
""",
)
