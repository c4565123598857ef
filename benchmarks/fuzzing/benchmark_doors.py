"""The doors of a benchmark: what any system answered, and the document of the benchmark itself."""

import json
import random
from pathlib import Path

from fuzzing.documents import Document, as_json, changed, crafted
from fuzzing.mutating import Mutator
from fuzzing.stored_doors import JSON
from fuzzing.trial import Door, Taken, Target, must

from sllm_data.benchmark.answers import read_answers
from sllm_data.benchmark.frozen import VERSION, Benchmark, Description, Made, read_description
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.tables import tabulate

_IDS = ("0" * 32, "1" * 32)


def _row(sample_id: str, group: str) -> Document:
    return {
        "sample_id": sample_id,
        "task": "keywords",
        "task_params": "{}",
        "kind": "instruct",
        "variant": "instruction_first",
        "instruction_id": "keywords.en.03",
        "language": "en",
        "response": "ferry, fog",
        "response_language": "en",
        "split": "test",
        "eval_group": group,
        "transcript": "the ferry left in fog",
        "transcript_prepared": "the ferry left in fog",
        "finish_reason": "stop",
        "messages": [],
    }


_DESCRIPTION = Description(
    benchmark_version=VERSION,
    name="fog",
    sllm_data="0.1.0",
    source=Made(name="d", digest="a" * 64),
    against=(),
    split="test",
    backbones=("b@r",),
    cells={"train": {"keywords": 1}},
    left_out={"speaker": 2},
    rows=2,
    clips=1,
    hours=0.1,
    speakers=1,
    languages=("en",),
    scoring=EvaluationConfig.model_validate({"bootstrap": {"resamples": 100}}),
    files={"questions.jsonl": "b" * 64},
)


def _open_answers(folder: Path) -> Door:
    path = folder / "answers.jsonl"
    rows = {name: _row(name, group) for name, group in zip(_IDS, _GROUPS, strict=True)}
    benchmark = Benchmark(root=folder, description=_DESCRIPTION, rows=rows, sha256="b" * 64)

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        found = read_answers(path, benchmark, missing="wrong")
        sides = {each.side for each in found}
        must(len(found) == len(sides) * len(rows), "a side without an answer to each question")
        report = tabulate(found, benchmark.description.scoring)
        must(report.rows == len(rows), "a question that is not scored")
        for cell in report.cells:
            for name, score in cell.scores.items():
                must(score.value is None or score.value == score.value, f"{name} is no number")
        return Taken(good=len(found))

    return door


_GROUPS = ("train", "held_out_task")
_LINES: tuple[Document, ...] = tuple(
    {"sample_id": name, "prediction": text, **more}
    for name, text, more in (
        (_IDS[0], "ferry, fog", {"side": "speech", "model": "m", "finish_reason": "stop"}),
        (_IDS[1], "the ferry left in fog", {"nll": 1.5, "nll_tokens": 3, "judge_score": 4}),
        (_IDS[0], " ", {"side": "text", "written_down": "fog", "num_tokens": 1}),
        (_IDS[1], "渡轮", {"side": "text", "reference": "ferry, fog", "task": "keywords"}),
    )
)


def _craft_lines(rng: random.Random) -> bytes:
    lines = rng.choices(_LINES, k=rng.randint(1, 5))
    lines[0] = changed(rng, lines[0], words=_VALUES)
    return b"\n".join(as_json(rng, line) for line in lines)


def _open_description(folder: Path) -> Door:
    path = folder / "benchmark.json"

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        found = read_description(folder)
        again = found.model_dump(mode="json")
        must(Description.model_validate(again) == found, "it changed")
        return Taken()

    return door


_DOCUMENT: Document = _DESCRIPTION.model_dump(mode="json")
_VALUES: tuple[Document, ...] = (
    *_IDS,
    "speech",
    "Side 1",
    1e400,
    -1,
    6,
    "length",
    "\x00",
    "x" * 99,
)
TARGETS = (
    Target(
        name="answers",
        open=_open_answers,
        seeds=lambda: [b"\n".join(json.dumps(line).encode() for line in _LINES), b"{}\n"],
        mutator=Mutator(tokens=(*JSON.tokens, '"prediction"', '"side"'), max_bytes=1 << 12),
        craft=_craft_lines,
    ),
    Target(
        name="benchmark",
        open=_open_description,
        seeds=lambda: [json.dumps(_DOCUMENT).encode(), b"{}"],
        mutator=JSON,
        craft=crafted([_DOCUMENT], as_json),
    ),
)
