r"""ms-swift and LLaMA-Factory: messages with `<audio>` in them, and the files beside.

    {"messages": [{"role": "user", "content": "Sum this up.\n\n<audio>"},
                  {"role": "assistant", "content": "..."}], "audios": ["audio/x.flac"]}

Any number of turns, of clips and of stretches: a stretch is a file of its own. Both trainers
put a loss on each answer; ms-swift can be told not to, LLaMA-Factory can't. Paths are relative
to the folder: LLaMA-Factory looks there by itself, ms-swift in the folder in which it is started.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sllm_data.errors import ShardError
from sllm_data.exporting.checking import (
    check_keys,
    check_marks,
    check_messages,
    must,
    sound_file,
)
from sllm_data.exporting.conversation import (
    Place,
    conversation_of,
    unmarked,
    with_marks,
)
from sllm_data.exporting.layout import (
    Found,
    Json,
    Layout,
    Target,
    read_json,
    read_lines,
    write_lines,
)
from sllm_data.exporting.rows import Heard, Row

_MARK = "<audio>"
_RESERVED = ("<image>", "<video>")  # both trainers look for these, too
_INFO = "dataset_info.json"
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


def _encode(row: Row, place: Place, *, untrained: bool) -> Json:
    conversation = conversation_of(row, untrained=untrained)
    messages: list[dict[str, Any]] = []  # Any: text, or whether there is a loss
    if conversation.system:
        system = unmarked(conversation.system, (_MARK, *_RESERVED))
        messages.append({"role": "system", "content": system})
    for exchange in conversation.exchanges:
        asked = with_marks(exchange.asked, _MARK, reserved=_RESERVED)
        answer = unmarked(exchange.answer, (_MARK, *_RESERVED))
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answer})
        if not exchange.is_trained:
            messages[-1]["loss"] = False
    audios = [place(heard) for heard in row.heard]
    named = {"sample_id": row.sample_id, "kind": row.kind, "task": row.task}
    return {"messages": messages, "audios": audios} | named


def _nowhere(_heard: Heard) -> str:
    return ""


def _write_swift(rows: Iterable[Row], target: Target) -> None:
    files = target.files
    lines = (_encode(row, files.heard, untrained=True) for row in rows)
    write_lines(target.folder / f"{target.stem}.jsonl", map(_without_empty, lines))


def _without_empty(line: Json) -> Json:
    # for text alone ms-swift's own examples leave the key out
    return {key: value for key, value in line.items() if value != []}


def _write_factory(rows: Iterable[Row], target: Target) -> None:
    files = target.files
    lines = (_encode(row, files.heard, untrained=False) for row in rows)
    write_lines(target.folder / f"{target.stem}.jsonl", lines)
    info = {
        f"sllm_{target.stem}": {
            "file_name": f"{target.stem}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "audios": "audios"},
            "tags": _TAGS,
        }
    }
    (target.folder / _INFO).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _check_lines(folder: Path, stem: str) -> Found:
    num_rows = num_stretches = 0
    for where, row in read_lines(folder / f"{stem}.jsonl"):
        check_keys(row, where, messages=list, sample_id=str, task=str)
        check_messages(row["messages"], where)
        audios = row.get("audios", [])
        must(isinstance(audios, list), where, "audios must be a list")
        for name in audios:
            sound_file(folder, name, where)
        content = "".join(message["content"] for message in row["messages"])
        check_marks(content, _MARK, len(audios), where)
        for message in row["messages"]:
            must(message.get("loss") in (None, False), where, "loss must be false where given")
        num_rows += 1
        num_stretches += len(audios)
    return Found(rows=num_rows, stretches=num_stretches)


def _check_factory(folder: Path, stem: str) -> Found:
    path = folder / _INFO
    entry = read_json(path).get(f"sllm_{stem}")
    if not isinstance(entry, dict):
        raise ShardError(f"{path}: must describe the dataset sllm_{stem}")
    where = f"{path}: sllm_{stem}"
    check_keys(entry, where, file_name=str, formatting=str, columns=dict, tags=dict)
    must(entry["file_name"] == f"{stem}.jsonl", where, f"file_name must be {stem}.jsonl")
    must(entry["formatting"] == "sharegpt", where, "formatting must be sharegpt")
    must(entry["tags"] == _TAGS, where, f"tags must be {_TAGS}, got {entry['tags']}")
    for where, row in read_lines(folder / f"{stem}.jsonl"):
        for key in map(str, entry["columns"].values()):
            must(key in row, where, f"must have the key {key!r} that {_INFO} names")
        check_keys(row, where, messages=list)
        check_messages(row["messages"], where)
        unsaid = all("loss" not in message for message in row["messages"])
        must(unsaid, where, "a message must have no loss, LLaMA-Factory knows none")
    return _check_lines(folder, stem)


MS_SWIFT = Layout(
    reader="ms-swift",
    holds=lambda row: _encode(row, _nowhere, untrained=True),
    write=_write_swift,
    check=_check_lines,
    usage="""
cd {folder}    # paths are relative to where swift is started
swift sft --model Qwen/Qwen2-Audio-7B-Instruct --dataset {stem}.jsonl
""",
)
LLAMA_FACTORY = Layout(
    reader="LLaMA-Factory",
    holds=lambda row: _encode(row, _nowhere, untrained=False),
    write=_write_factory,
    check=_check_factory,
    usage="""
llamafactory-cli train --stage sft --do_train --model_name_or_path Qwen/Qwen2-Audio-7B-Instruct \\
    --template qwen2_audio --dataset_dir {folder} --dataset sllm_{stem} --output_dir out
""",
)
