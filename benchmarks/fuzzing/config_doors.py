"""The doors that configuration comes through: run.yaml with `--set`, and a dataset's own.

What loads must survive being written into a dataset and read again: a run that can't be
resumed was no run. Lines that begin with `--set ` are taken out of the file and given as
overrides.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from fuzzing.documents import Document, as_yaml, crafted
from fuzzing.mutating import Mutator
from fuzzing.prompt_doors import YAML
from fuzzing.trial import Door, Taken, Target, must

from sllm_data.config import RunConfig, load_config, resolve, resolved_document
from sllm_data.errors import ConfigError
from sllm_data.steps.dataset import open_dataset, read_run_document
from sllm_data.steps.identities import identities
from sllm_data.validation.contract import load_contract

_SET = b"--set "


def _open_run_yaml(folder: Path) -> Door:
    path = folder / "run.yaml"
    own = folder / "own.yaml"
    own.write_text("tasks:\n  summary: {weight: 1.0}\n")

    def door(content: bytes) -> Taken:
        lines = content.split(b"\n")
        overrides = [line.removeprefix(_SET) for line in lines if line.startswith(_SET)]
        text = b"\n".join(line for line in lines if not line.startswith(_SET))
        path.write_bytes(text.replace(b"OWN", str(own).encode()))
        # as a shell hands over what is no UTF-8
        config = load_config(path, [line.decode("utf-8", "surrogateescape") for line in overrides])
        _must_come_back(config)
        return Taken()

    return door


def _must_come_back(config: RunConfig) -> None:
    document = resolved_document(config)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    text.encode("utf-8")
    again = resolve(yaml.safe_load(text), where="again")
    must(again == config, "a configuration changes when it is written down")
    must(
        RunConfig.model_validate_json(config.model_dump_json()) == config,
        "a configuration changes on its way to a worker",
    )


def _open_dataset_yaml(folder: Path) -> Door:
    root = folder / "dataset"
    for table in ("candidates", "index"):  # begun: what differs is refused
        (root / table).mkdir(parents=True)
        (root / table / "part-00000.parquet").touch()
    config = resolve({**_short_document(folder), "output": str(root)}, where="fuzz")

    def door(content: bytes) -> Taken:
        (root / "run.yaml").write_bytes(content)
        dataset = open_dataset(config, extend=len(content) % 2 == 0)
        json.dumps(identities(dataset.extensions))
        must(read_run_document(root) is not None, "what was just written can't be read")
        return Taken()

    return door


_DOCUMENT = {
    "seed": 1,
    "corpora": [{"kind": "librispeech", "path": "data/LibriSpeech", "limit": 5}],
    "backbone": {"engine": "scripted"},
}
_RUN = (
    (
        b"seed: 1\noutput: out/x\ncorpora:\n"
        b"  - {kind: librispeech, path: data/LibriSpeech, subsets: [train-clean-100], limit: 5}\n"
        b"  - {kind: common_voice, path: data/cv, locales: [en, de], tsv: validated, sample: .5}\n"
        b"recipe: self_powered\nbackbone: {engine: vllm, model: Qwen/Qwen2.5-7B-Instruct}\n"
    ),
    (
        b"seed: 7\noutput: out/x\nrecipe: OWN\ncorpora: [{kind: librispeech, path: data}]\n"
        b"backbone:\n  engine: scripted\n  template_kwargs: {enable_thinking: false, date: x}\n"
        b"tasks:\n  summary: {weight: 2, languages: [en], max_tokens: 9}\n  x: {weight: 0}\n"
        b"prompts: {templates: {instruction_first: 1, content_first: 2}, preparation: lower}\n"
    ),
    (
        b"seed: 1\noutput: o\ncorpora: [{kind: librispeech, path: d, weight: 2.5}]\n"
        b"backbone: {engine: openai, model: m, base_url: 'http://localhost/v1'}\n"
        b"--set corpora.0.limit=200\n--set backbone.template_kwargs.a=[1, null]\n--set seed=2\n"
    ),
    (
        b"seed: 1\noutput: o\ncorpora:\n"
        b"  - {kind: manifest, path: l.jsonl, language: en, columns: {transcript: [a, text]}}\n"
        b"  - {kind: huggingface, path: x/y, name: talks, language: de, splits: [train]}\n"
        b"backbone: {engine: scripted}\nreuse: [old]\n"
    ),
)
_TOKENS = (
    *("seed: ", "output: ", "corpora: ", "backbone: ", "recipe: ", "engine: ", "kind: "),
    *("--set ", "\n--set ", "--set a.b=", "--set seed=", "--set corpora.0.name=", ".0", "="),
    *("--set backbone.template_kwargs=&x {a: *x}", "--set reuse=&x [*x]", "tasks.intent.weight"),
    *("scripted", "openai", "vllm", "librispeech", "common_voice", "manifest", "OWN"),
    *("template_kwargs: {a: 2020-01-01}", "template_kwargs: {a: !!binary /w==}", "{a: .nan}"),
    *("splits: {validation: 0.9}", "filters: {languages: [xx]}", "runner: {workers: 0}", "audio:"),
)


def _dataset_seeds() -> list[bytes]:
    """What a dataset's run.yaml looks like, of this configuration and of another one."""
    seeds = []
    for changes in ({}, {"seed": 2}, {"tasks": {"x": {"weight": 1.0}}}):
        with tempfile.TemporaryDirectory() as scratch:
            document = {**_short_document(Path(scratch)), **changes, "output": f"{scratch}/d"}
            dataset = open_dataset(resolve(document, where="fuzz"))
            written = yaml.safe_load((dataset.root / "run.yaml").read_bytes())
            del written["config"]  # nothing reads it, and it takes long to parse
            seeds.append(yaml.safe_dump(written, sort_keys=False).encode())
    return seeds


def _short_document(folder: Path) -> dict[str, Document]:
    recipe = folder / "own.yaml"
    recipe.write_text("tasks:\n  summary: {weight: 1.0}\n")
    return {**_DOCUMENT, "recipe": str(recipe)}


def _open_contract(folder: Path) -> Door:
    path = folder / "contract.yaml"

    def door(content: bytes) -> Taken:
        path.write_bytes(content)
        contract = load_contract(path)
        must(type(contract).model_validate_json(contract.model_dump_json()) == contract, "changed")
        try:
            contract.check_rules(["row_counts", "unique_ids"], where=str(path))
        except ConfigError:
            return Taken(good=0)
        return Taken()

    return door


def _documents(files: Sequence[bytes]) -> list[Document]:
    texts = [b"\n".join(x for x in f.split(b"\n") if not x.startswith(_SET)) for f in files]
    return [yaml.safe_load(text) for text in texts]


_KNOWN: tuple[Document, ...] = (
    *("scripted", "openai", "vllm", "librispeech", "common_voice", "OWN", "quota", "drop", "main"),
    *("restored", "utterance", "summary", "instruct", "serial", {"engine": "scripted"}),
    *(
        {"kind": "librispeech", "path": "x"},
        {"summary": {"weight": 1}},
        {"en": 1.0},
        ["validated"],
    ),
)
_CONTRACTS = (
    (
        b"extra_columns: {samples: {note: string, n: int32}}\ntasks: [intent, x]\n"
        b"languages: [en, zh]\nlicences: [CC0-1.0]\nrequired_splits: [train]\n"
        b"min_samples: 10\nmin_duration_s: 0.5\nmax_duration_s: 30\n"
    ),
    (
        b"copy_rate: {intent: 0.4}\nresponse_tokens: {intent: {min: 3, max: 90.5}}\n"
        b"rules: {row_counts: warning, unique_ids: off}\nmax_shared_transcripts: 0.1\n"
    ),
)

TARGETS = (
    Target(
        name="run_yaml",
        open=_open_run_yaml,
        seeds=lambda: list(_RUN),
        mutator=Mutator(tokens=(*YAML.tokens, *_TOKENS, *_TOKENS), max_bytes=1 << 13),
        craft=crafted(_documents(_RUN), as_yaml, words=_KNOWN),
    ),
    Target(
        name="dataset_yaml",
        open=_open_dataset_yaml,
        seeds=_dataset_seeds,
        mutator=Mutator(
            tokens=(
                *YAML.tokens,
                "extensions: []",
                "extensions:",
                "- [x]",
                "identity: ",
                "config:",
            ),
            max_bytes=1 << 14,
        ),
        craft=crafted(_documents(_dataset_seeds()), as_yaml, words=_KNOWN),
    ),
    Target(
        name="contract",
        open=_open_contract,
        seeds=lambda: list(_CONTRACTS),
        mutator=YAML,
        craft=crafted(_documents(_CONTRACTS), as_yaml, words=("error", "off", "int32", "en")),
    ),
)
