"""plan, tokenising included: requests per second and core.

    python benchmarks/bench_plan.py --transcripts train-clean-100.tsv.gz

Three tasks for each transcript, in one process:

bare      `tokenizers` alone: `encode_batch_fast` over the same prompts, rendered beforehand
planner   `Planner.requests` in batches of a part: wording, prompt, ids, seed, key
plan      the whole step: reads audio/ and index/, writes requests/ and the manifest

The tokenizer is a byte-level BPE with a pre-tokenising pattern like those of Llama 3 and
Qwen and a ChatML template, trained here on the shipped wordings and on the transcripts: all
in lower case, one in 500 also as it is. So capitals cost about as many tokens as with a real
model. It is kept in the temporary folder.
"""

import argparse
import csv
import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inputs import dataset_before_plan
from measuring import Timing, alternate, header, machine, ratios, row, spread, timed
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from sllm_data.config import resolve
from sllm_data.files import shipped_folder
from sllm_data.prompting.pools import load_pools
from sllm_data.records import Message
from sllm_data.steps.context import planner_of, sources_of
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.plan import plan
from sllm_data.steps.planner import Asked, Planner
from sllm_data.steps.progress import Progress
from sllm_data.testbed import sentences

TARGET_PER_S = 5_000
PART_SIZE = 2_000
NUM_TASKS = 3
_MANIFEST = "manifests/librispeech/train-clean-100.tsv.gz"
_TASKS = (
    *("repetition", "intent", "sentiment", "keywords"),
    *("translation", "continuation", "summary"),
)
_SPLITTER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_AS_IT_IS = 500
_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    parts: list[list[Asked]]
    texts: list[list[str]]
    """The rendered prompts of each part."""
    planner: Planner
    tokenizer: Tokenizer
    dataset: Dataset

    @property
    def num_requests(self) -> int:
        return sum(len(texts) for texts in self.texts)

    def bare(self) -> None:
        for texts in self.texts:
            self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)

    def plan_in_memory(self) -> None:
        for part in self.parts:
            self.planner.requests(part)

    def plan_on_disk(self) -> None:
        plan(self.dataset, "main", Progress(None))


def main() -> None:
    options = _options()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # per core
    transcripts = list(_transcripts(options.transcripts))[: options.limit]
    folder = Path(tempfile.gettempdir()) / f"sllm-data-bench-{options.vocab_size}-{_AS_IT_IS}"
    if not (folder / "tokenizer.json").exists():
        _train(folder, [text for _, text in transcripts], options.vocab_size)
    with tempfile.TemporaryDirectory(prefix="sllm-data-bench-") as scratch:
        work = _prepare(Path(scratch) / "dataset", folder, transcripts)
        _report(work, repeats=options.repeats, num_transcripts=len(transcripts))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    speech = os.environ.get("SLLM_REAL_SPEECH")
    parser.add_argument(
        "--transcripts",
        type=Path,
        default=Path(speech) / _MANIFEST if speech else None,
        help=f".tsv.gz with the columns id and text; default: {_MANIFEST} in "
        "$SLLM_REAL_SPEECH, and sentences of the testbed where that is unset",
    )
    parser.add_argument("--limit", type=int, help="use the first so many transcripts")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--vocab-size", type=int, default=32_000, help="default 32000")
    return parser.parse_args()


def _transcripts(path: Path | None) -> Iterator[tuple[str, str]]:
    if path is None:
        texts = sentences("en", 5_000, seed=1)
        yield from ((f"{number:06}", text) for number, text in enumerate(texts))
        return
    with gzip.open(path, "rt", encoding="utf-8", newline="") as table:
        for fields in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield fields["id"], fields["text"]


def _train(folder: Path, transcripts: Sequence[str], vocab_size: int) -> None:
    """Writes what a model folder has of a tokenizer."""
    pools = load_pools((shipped_folder("instruction_pools"),))
    wordings = [instruction.text for pool in pools for instruction in pool.instructions]
    texts = [*map(str.lower, transcripts), *transcripts[::_AS_IT_IS], *wordings * 3]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLITTER), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(_CONTROLS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in _CONTROLS])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "chat_template": _CHATML,
        "model_max_length": 4_096,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))


def _prepare(root: Path, tokenizer: Path, transcripts: Sequence[tuple[str, str]]) -> _Work:
    config = resolve(
        {
            "seed": 1,
            "output": str(root),
            "part_size": PART_SIZE,
            "corpora": [{"kind": "librispeech", "path": "unread"}],
            "backbone": {"engine": "scripted", "tokenizer": str(tokenizer)},
            "tasks": {"summary": {"weight": 1.0}},
            "runner": {"kind": "serial"},
        },
        where="benchmark",
    )
    asked = [
        Asked(
            audio_id=f"librispeech/1.0/train-clean-100/{name}",
            audio_part=position // PART_SIZE,
            language="en",
            prepared=text,
            split="train",
            tasks=tuple(_TASKS[(position + i) % len(_TASKS)] for i in range(NUM_TASKS)),
        )
        for position, (name, text) in enumerate(transcripts)
    ]
    parts = [asked[start : start + PART_SIZE] for start in range(0, len(asked), PART_SIZE)]
    planner = planner_of(config.model_dump_json(), sources_of(config))
    return _Work(
        parts=parts,
        texts=[[_render(r.messages) for r in planner.requests(part)[0]] for part in parts],
        planner=planner,
        tokenizer=Tokenizer.from_file(str(tokenizer / "tokenizer.json")),
        dataset=dataset_before_plan(config, parts),
    )


def _render(messages: Sequence[Message]) -> str:
    turns = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
    return f"{turns}<|im_start|>assistant\n"


def _report(work: _Work, *, repeats: int, num_transcripts: int) -> None:
    def on_disk() -> Timing:
        for written in ("requests", "rejections"):
            shutil.rmtree(work.dataset.root / written, ignore_errors=True)
        work.dataset.manifest_path("plan.main").unlink(missing_ok=True)
        return timed(work.plan_on_disk)

    ways = {
        "bare encode_batch_fast": lambda: timed(work.bare),
        "planner, in memory": lambda: timed(work.plan_in_memory),
        "plan, the step on disk": on_disk,
    }
    timings = alternate(ways, repeats=repeats)
    bare = [t.cpu_s for t in timings["bare encode_batch_fast"]]
    tokens = sum(
        len(encoding)
        for texts in work.texts
        for encoding in work.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    )
    letters = sum(len(text) for texts in work.texts for text in texts)
    count = work.num_requests
    print(
        f"{num_transcripts:,} transcripts x {NUM_TASKS} tasks = {count:,} requests, "
        f"{tokens / count:.0f} tokens and {letters / count:.0f} characters each; "
        f"{repeats} rounds; target {TARGET_PER_S:,} "
        "requests/s and core\n"
    )
    print(header("way", "requests/s, wall", "requests per CPU second", "CPU time : bare"))
    for name, runs in timings.items():
        cpu = [t.cpu_s for t in runs]
        rates = [count / t.wall_s for t in runs]
        per_cpu_s = [count / s for s in cpu]
        print(row(name, spread(rates, 0), spread(per_cpu_s, 0), spread(ratios(cpu, bare))))
    print(f"\n{machine('tokenizers', 'pyarrow')}")


if __name__ == "__main__":
    main()
