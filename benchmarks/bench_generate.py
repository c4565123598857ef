"""generate with real vLLM: from requests on disk to committed responses.

    python benchmarks/bench_generate.py

bare      one `LLM.generate` call over the token ids of all requests, with the same engine
          settings, seeds and sampling parameters, all in memory
generate  the step's own loop: reads parts of requests/, feeds the engine across their
          borders, writes and commits parts of responses/

Each way runs in a process of its own, in turn. Time counts from the moment when the engine
has started: for bare around the call, for generate from there to the last part under its
final name, and opening the first part, which comes before. The model is the testbed's: 4
layers, hidden size 256, random weights, so the steps of the engine are short and what is
around them weighs much more than with a real model.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from inputs import dataset_before_plan
from measuring import header, machine, ratios, row, spread

from sllm_data.config import RunConfig, resolve
from sllm_data.generation.config import VllmConfig
from sllm_data.generation.vllm_start import installed, settle
from sllm_data.shards import part_name, read_part
from sllm_data.steps.answering import Job, answer_parts
from sllm_data.steps.engines import Engines
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.parts import Records, Step
from sllm_data.steps.plan import plan
from sllm_data.steps.planner import Asked
from sllm_data.steps.progress import Progress
from sllm_data.steps.rows import request_from
from sllm_data.testbed import sentences, write_random_backbone

TARGET = 0.95
_MAX_MODEL_LEN = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What a process measured."""

    start_s: float
    """Until the engine was ready, imports included."""
    work_s: float
    rows: int
    tokens: int
    """Of the answers."""


def main() -> None:
    options = _options()
    if options.way is not None:
        run = {"bare": _bare, "generate": _generate}[options.way](options.folder)
        (options.folder / "run.json").write_text(json.dumps(asdict(run)), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory(prefix="sllm-data-bench-") as scratch:
        folder = Path(scratch)
        _prepare(folder, options)
        runs: dict[str, list[_Run]] = {"bare": [], "generate": []}
        for number in range(options.repeats):
            for way in sorted(runs, reverse=number % 2 == 1):
                runs[way].append(_in_process(way, folder))
        _report(runs, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-requests", type=int, default=2_000, help="default 2000")
    parser.add_argument("--part-size", type=int, default=250, help="requests (default 250)")
    parser.add_argument("--max-tokens", type=int, default=48, help="of an answer (default 48)")
    parser.add_argument("--max-num-seqs", type=int, default=64, help="default 64")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--way", choices=("bare", "generate"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _prepare(folder: Path, options: argparse.Namespace) -> None:
    model = folder / "backbone"
    write_random_backbone(model)
    config = resolve(
        {
            "seed": 1,
            "output": str(folder / "dataset"),
            "part_size": options.part_size,
            "corpora": [{"kind": "librispeech", "path": "unread"}],
            "backbone": {
                "engine": "vllm",
                "model": str(model),
                "temperature": 0.8,
                "max_model_len": _MAX_MODEL_LEN,
                "max_num_seqs": options.max_num_seqs,
                "max_num_batched_tokens": 2_048,
                "kv_cache_gib": 1,
                "enforce_eager": True,
            },
            "tasks": {"continuation": {"max_tokens": options.max_tokens}},
            "runner": {"kind": "serial"},
        },
        where="benchmark",
    )
    asked = [
        Asked(
            audio_id=f"librispeech/1.0/train/{number:05}",
            audio_part=number // options.part_size,
            language="en",
            prepared=text,
            split="train",
            tasks=("continuation",),
        )
        for number, text in enumerate(sentences("en", options.num_requests, seed=1))
    ]
    size = options.part_size
    parts = [asked[start : start + size] for start in range(0, len(asked), size)]
    plan(dataset_before_plan(config, parts), "main", Progress(None))
    (folder / "config.json").write_text(config.model_dump_json(), encoding="utf-8")


def _in_process(way: str, folder: Path) -> _Run:
    for part in folder.glob("dataset/re*/*main*/part-*.parquet"):
        if "requests" not in part.parts:
            part.unlink()
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    subprocess.run(command, check=True)
    run = _Run(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    print(f"{way}: {run.work_s:.2f} s, engine start {run.start_s:.1f} s", file=sys.stderr)
    return run


def _configured(folder: Path) -> tuple[RunConfig, list[int]]:
    config = RunConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    return config, list(range(len(list((config.output / "requests/main").iterdir()))))


class _Watch:
    """Tells, from what the step reports, what came before the engine was up and what after.

    opens the first part   starts the engine   opens, feeds, commits until the last
    |---- counts ---------|------------------|---- counts -------------------------|
    """

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = numbers
        self._began_s = self._ended_s = self._first_open_s = 0.0
        self._fed_from_s = math.inf

    def numbers(self) -> Iterator[int]:
        self._began_s = time.monotonic()
        yield from self._numbers

    def commit(self, _: Records) -> None:
        self._ended_s = time.monotonic()

    def watch(self, _: int, throughput: Throughput) -> None:
        now = time.monotonic()
        if throughput.responses:
            # `seconds` counts from the first request: the call with the least delay tells when
            self._fed_from_s = min(self._fed_from_s, now - throughput.seconds)
        elif not self._first_open_s:
            self._first_open_s = now - self._began_s

    @property
    def work_s(self) -> float:
        return self._first_open_s + self._ended_s - self._fed_from_s

    @property
    def start_s(self) -> float:
        return self._fed_from_s - self._began_s - self._first_open_s


def _generate(folder: Path) -> _Run:
    config, numbers = _configured(folder)
    step = Step(
        name="generate.main",
        folders=("rejections/generate.main", "responses/main"),
        identity="benchmark",
        inputs=(),
    )
    job = Job(turn="main", document=config.model_dump_json(), step=step, reuse=None)
    seen = _Watch(numbers)
    with closing(Engines()) as engines:
        throughput = answer_parts(
            job, seen.numbers(), engines, commit=seen.commit, watch=seen.watch
        )
    return _Run(
        start_s=seen.start_s,
        work_s=seen.work_s,
        rows=throughput.responses,
        tokens=throughput.response_tokens,
    )


def _bare(folder: Path) -> _Run:
    start = time.monotonic()
    config, numbers = _configured(folder)
    if not isinstance(config.backbone, VllmConfig):
        raise TypeError(config.backbone)
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(config.backbone.kv_cache_gib)
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"

    from vllm import LLM, SamplingParams, TokensPrompt  # noqa: PLC0415 - takes seconds

    on_cpu = not _has_gpu()
    limits = settle(config.backbone, on_cpu=on_cpu, max_model_len=_MAX_MODEL_LEN)
    llm = LLM(
        model=config.backbone.model,
        dtype=config.backbone.dtype,
        load_format="safetensors",
        max_model_len=_MAX_MODEL_LEN,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        gpu_memory_utilization=config.backbone.gpu_memory_utilization,
        enable_prefix_caching=limits.prefix_caching,
        enable_chunked_prefill=not on_cpu,
        enforce_eager=config.backbone.enforce_eager,
        seed=0,
        disable_log_stats=True,
    )
    requests = [
        request_from(fields)
        for number in numbers
        for fields in read_part(config.output / "requests/main" / part_name(number)).to_pylist()
    ]
    prompts = [TokensPrompt(prompt_token_ids=list(r.prompt_token_ids)) for r in requests]
    params = [
        SamplingParams(
            temperature=r.sampling.temperature,
            top_p=r.sampling.top_p,
            top_k=r.sampling.top_k,
            max_tokens=r.sampling.max_tokens,
            seed=r.seed,
        )
        for r in requests
    ]
    began = time.monotonic()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    ended = time.monotonic()
    return _Run(
        start_s=began - start,
        work_s=ended - began,
        rows=len(outputs),
        tokens=sum(len(output.outputs[0].token_ids) for output in outputs),
    )


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - takes seconds

    return bool(torch.cuda.is_available())


def _report(runs: dict[str, list[_Run]], options: argparse.Namespace) -> None:
    print(
        f"{options.num_requests:,} requests in parts of {options.part_size}, up to "
        f"{options.max_tokens} tokens each, temperature 0.8, max_num_seqs "
        f"{options.max_num_seqs}, eager; {options.repeats} rounds; target {TARGET:g} of bare\n"
    )
    bare = [run.tokens / run.work_s for run in runs["bare"]]
    print(
        header("way", "tokens", "work, s", "requests/s", "tokens/s", "tokens/s : bare", "start, s")
    )
    for way, of_way in runs.items():
        rates = [run.tokens / run.work_s for run in of_way]
        print(
            row(
                way,
                spread([float(run.tokens) for run in of_way], 0),
                spread([run.work_s for run in of_way]),
                spread([run.rows / run.work_s for run in of_way], 1),
                spread(rates, 0),
                spread(ratios(rates, bare), 3),
                spread([run.start_s for run in of_way], 1),
            )
        )
    found = installed()
    print(f"\nvLLM {found[0] if found else 'missing'} on {machine('torch')}")


if __name__ == "__main__":
    main()
