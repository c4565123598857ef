"""Do all engines give the same greedy answers, and are they right?

    python benchmarks/agree_engines.py --prompts 510

Asks the backbone of the small spoken world about texts that it never met, in four ways:

- transformers, in batches, in bfloat16, as the reference;
- the engine `vllm`;
- the engine `openai` with token ids, against vLLM's own server;
- the engine `openai` with messages, against the same server.

Prints how many answers equal those of transformers, and how many are right. Exit status 1
where a way gives another answer.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil
import torch
from measuring import header, machine, row
from transformers import AutoModelForCausalLM, AutoTokenizer

from sllm_data.chat import ChatRenderer
from sllm_data.generation import Engine, OpenaiConfig, VllmConfig, start_engine
from sllm_data.records import Message, Request, Response, Sampling
from sllm_data.steps.testbed import shipped_course
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.backbone_training import answers
from sllm_data.testbed.lessons import Lesson

_STARTS_S = 400
_MAX_LEN = 512


def main() -> None:
    options = _options()
    per_task = -(-options.prompts // 15)
    exam = shipped_course().exam(seed=3, per_task=per_task)[: options.prompts]
    model = options.model or shipped("backbone")
    asked = requests(model, exam)
    expected = reference(model, exam)
    print(header("way", "prompts", "as transformers", "right"))
    differ = False
    for name, said in ways(model, asked):
        same = sum(a == b for a, b in zip(said, expected, strict=True))
        right = sum(a == lesson.answer for a, lesson in zip(said, exam, strict=True))
        print(row(name, len(exam), same, right), flush=True)
        differ |= same != len(exam)
    print(f"\n{machine('vllm', 'transformers', 'torch')}")
    sys.exit(1 if differ else 0)


def ways(model: Path, asked: Sequence[Request]) -> Iterator[tuple[str, list[str]]]:
    """Yields each engine's name and its answers."""
    with closing(start_engine(engine_config(model))) as engine:
        yield "vllm", ask(engine, asked)
    with server(model) as url:
        for name, tokenizer in (("token ids", str(model)), ("messages", None)):
            config = OpenaiConfig(
                engine="openai", model="testbed", base_url=url, tokenizer=tokenizer
            )
            with closing(start_engine(config)) as engine:
                yield f"openai, {name}", ask(engine, asked)


def engine_config(model: Path) -> VllmConfig:
    """The engine, without compilation."""
    return VllmConfig(
        engine="vllm",
        model=str(model),
        max_model_len=_MAX_LEN,
        kv_cache_gib=1,
        enforce_eager=True,
    )


def reference(model: Path, exam: Sequence[Lesson]) -> list[str]:
    """Returns the greedy answers of transformers."""
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    return answers(loaded, AutoTokenizer.from_pretrained(model), exam)


def requests(model: Path, exam: Sequence[Lesson]) -> list[Request]:
    """Returns the requests of an exam, rendered by the model's own chat template."""
    renderer = ChatRenderer.load(str(model))
    conversations = [tuple(Message(**message) for message in lesson.messages) for lesson in exam]
    made = []
    for number, (lesson, messages, ids) in enumerate(
        zip(exam, conversations, renderer.encode(conversations), strict=True)
    ):
        made.append(
            Request(
                request_id=f"{number}:main",
                sample_id=str(number),
                audio_part=0,
                audio_id=f"testbed/1/x/{number}",
                task=lesson.task,
                task_params="{}",
                variant="plain",
                draw_index=0,
                instruction_id=f"{lesson.task}.en-testbed.01",
                instruction_language="en-testbed",
                template_id="instruction_first",
                split="test",
                eval_group="test",
                transcript_prepared="",
                target="generated",
                messages=messages,
                prompt_token_ids=tuple(ids),
                sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=96),
                seed=1,
                request_key=str(number),
            )
        )
    return made


def ask(engine: Engine, asked: Sequence[Request]) -> list[str]:
    """Returns the answers, in the order of the requests."""
    said: dict[str, str] = {}
    waiting = list(reversed(asked))
    in_flight = 0
    while waiting or in_flight:
        while waiting and in_flight < engine.max_in_flight:
            engine.submit(waiting.pop())
            in_flight += 1
        for answer in engine.receive():
            in_flight -= 1
            if not isinstance(answer, Response):
                raise SystemExit(f"{answer.row_id}: {answer.detail}")
            said[answer.request_id] = answer.text
    return [said[request.request_id] for request in asked]


@contextmanager
def server(model: Path) -> Iterator[str]:
    """Runs vLLM's own OpenAI server over a model folder; yields its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model", str(model), "--served-model-name", "testbed"]
    command += ["--max-model-len", str(_MAX_LEN), "--enforce-eager", "--no-enable-chunked-prefill"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with tempfile.TemporaryFile("w+b") as log:
        process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            _wait_until_up(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            family = [process, *process.children(recursive=True)] if process.is_running() else []
            for member in family:
                member.terminate()
            for member in psutil.wait_procs(family, timeout=15)[1]:
                member.kill()


def _wait_until_up(url: str, process: psutil.Popen) -> None:
    deadline = time.monotonic() + _STARTS_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit("vLLM's server did not come up")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=510, help="default 510")
    parser.add_argument("--model", type=Path, help="a model folder; the shipped one where absent")
    return parser.parse_args()


if __name__ == "__main__":
    main()
