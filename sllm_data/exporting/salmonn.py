"""SALMONN: one JSON document of annotations, and the prompts to train them with.

    {"annotation": [{"path": "audio/x.flac", "text": "...", "task": "instruction_first",
                     "Q": "Sum this up."}, ...]}

SALMONN draws the prompt of a task from a file and puts Q in place of its braces. Two prompts are
written beside, one for each order of instruction and speech. It hears the whole of `path`, then
each file of `expand_wav` behind 0.1 s of silence: so several clips or stretches are held where no
text stands between them. Of a row it hears 30 s and cuts off the rest, so longer ones are not
held: their answers would speak of what is not heard.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sllm_data.errors import ShardError
from sllm_data.exporting.checking import check_keys, must, sound_file
from sllm_data.exporting.conversation import (
    UnheldError,
    are_adjacent,
    severals,
    single,
    unmarked,
)
from sllm_data.exporting.layout import (
    Found,
    Json,
    Layout,
    Target,
    as_json,
    check_is_file,
    parsed,
    read_json,
)
from sllm_data.exporting.rows import Heard, Row, Text

_MARKS = ("<SpeechHere>", "<Speech>", "</Speech>")
_SPEECH = "<Speech><SpeechHere></Speech>"
_PROMPTS = {"instruction_first": [f"{{}} {_SPEECH}"], "speech_first": [f"{_SPEECH} {{}}"]}
_PROMPT_FILE = "train_prompt.json"
_MAX_S, _SILENCE_S = 30.0, 0.1
_HEAD, _TAIL = '{"annotation": [', "]}"


def _encode(row: Row, place: Callable[[Heard], str]) -> Json:
    _, exchange = single(row, system=False)
    if not exchange.heard:
        raise UnheldError("no speech")
    if not are_adjacent(exchange.asked):
        raise UnheldError(severals(exchange.heard))
    if _lasts_s(exchange.heard) > _MAX_S:
        raise UnheldError("more than 30 s of speech")
    first, last = exchange.asked.index(exchange.heard[0]), exchange.asked.index(exchange.heard[-1])
    before, after = _text(exchange.asked[:first]), _text(exchange.asked[last + 1 :])
    if before and after:
        raise UnheldError("text on both sides of the speech")
    path, *more = map(place, exchange.heard)
    line: dict[str, Any] = {"path": path}  # Any: text, or several
    if more:
        line["expand_wav"] = more
    return line | {
        "text": unmarked(exchange.answer, _MARKS),
        "task": "speech_first" if after else "instruction_first",
        "Q": unmarked(before or after, _MARKS),
        "sample_id": row.sample_id,
    }


def _lasts_s(heard: Sequence[Heard]) -> float:
    return sum(each.duration_s for each in heard) + _SILENCE_S * (len(heard) - 1)


def _text(spans: Iterable[Text | Heard]) -> str:
    return "".join(span.text for span in spans if isinstance(span, Text)).strip()


def _write(rows: Iterable[Row], target: Target) -> None:
    with (target.folder / f"{target.stem}.json").open("w", encoding="utf-8", newline="\n") as file:
        file.write(_HEAD)
        between = "\n"
        for row in rows:
            file.write(between + as_json(_encode(row, target.files.heard)))
            between = ",\n"
        file.write(f"\n{_TAIL}\n")
    prompts = json.dumps(_PROMPTS, indent=2) + "\n"
    (target.folder / _PROMPT_FILE).write_text(prompts, encoding="utf-8")


def _check(folder: Path, stem: str) -> Found:
    path = folder / _PROMPT_FILE
    prompts = read_json(path)
    for task, wordings in prompts.items():
        is_list = isinstance(wordings, list) and wordings
        fit = is_list and all(str(each).count("<SpeechHere>") == 1 for each in wordings)
        must(fit, f"{path}: {task}", "each prompt must have one <SpeechHere>")
    num_rows = num_stretches = 0
    for where, row in _annotations(folder / f"{stem}.json"):
        check_keys(row, where, path=str, text=str, task=str, Q=str, sample_id=str)
        must(row["task"] in prompts, where, f"task must be one of {', '.join(prompts)}")
        unmarked_q = not any(mark in row["Q"] for mark in _MARKS)
        must(unmarked_q, where, "Q must hold no mark of speech")
        more = row.get("expand_wav", [])
        must(isinstance(more, list), where, "expand_wav must be a list where it is given")
        files = [row["path"], *more]
        for name in files:
            sound_file(folder, name, where)
        num_rows += 1
        num_stretches += len(files)
    return Found(rows=num_rows, stretches=num_stretches)


def _annotations(path: Path) -> Iterator[tuple[str, Json]]:
    """Yields the annotations one by one: SALMONN reads the document at once, a check need not."""
    check_is_file(path)
    with path.open("rb") as file:
        must(next(file, b"").strip() == _HEAD.encode(), str(path), f"must begin with {_HEAD}")
        line = b""
        for number, line in enumerate(file, start=2):
            if line.strip() == _TAIL.encode():
                break
            yield f"{path}:{number}", parsed(line.strip().removesuffix(b","), f"{path}:{number}")
        if line.strip() != _TAIL.encode():
            raise ShardError(f"{path}: must end with {_TAIL}, is cut off")


SALMONN = Layout(
    reader="SALMONN",
    holds=lambda row: _encode(row, lambda _heard: ""),
    write=_write,
    check=_check,
    usage="""
cd {folder}    # paths are relative to where train.py is started
python $SALMONN/train.py --cfg-path config.yaml
# in config.yaml:
#   model:    {multi_prompt: True, prompt_path: {folder}/train_prompt.json}
#   datasets: {train_ann_path: {folder}/{stem}.json, ...}
""",
)
