"""What a user can get wrong, each as a function that prepares it and returns a command.

A function gets the working directory, which holds `data/LibriSpeech`, and a way to run
commands. Its name is that of a row of docs/faults.md, with underscores for spaces.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bad_input.conftest import Command, write_run
from tests.chat.conftest import FAMILIES, write_model

Mistake = Callable[[Path, Command], Sequence[object]]
MISTAKES: dict[str, Mistake] = {}


def _mistake(function: Mistake) -> Mistake:
    MISTAKES[function.__name__.strip("_").replace("_", " ")] = function
    return function


def _corpus(here: Path, kind: str, path: str, **fields: Any) -> Sequence[object]:
    write_run(here, corpora=[{"kind": kind, "path": path, **fields}])
    return ("run", "run.yaml")


# corpora


@_mistake
def a_wrong_path(here, command):
    return _corpus(here, "librispeech", "data/nowhere")


@_mistake
def a_file_for_a_folder(here, command):
    return _corpus(here, "librispeech", "run.yaml")


@_mistake
def an_empty_folder(here, command):
    (here / "data/empty").mkdir()
    return _corpus(here, "librispeech", "data/empty")


@_mistake
def an_empty_folder_for_Common_Voice(here, command):  # noqa: N802 - a name of the page
    (here / "data/cv-corpus-1").mkdir()
    return _corpus(here, "common_voice", "data/cv-corpus-1")


@_mistake
def a_subset_that_is_not_there(here, command):
    return _corpus(here, "librispeech", "data/LibriSpeech", subsets=["train-clean-100"])


@_mistake
def a_subset_that_links_out_of_the_corpus(here, command):
    (here / "data/Links").mkdir()
    (here / "data/Links/train-a").symlink_to(here / "data/LibriSpeech/train-clean-a")
    return _corpus(here, "librispeech", "data/Links")


def _table(here: Path, content: bytes) -> Sequence[object]:
    locale = here / "data/cv-corpus-1/en"
    (locale / "clips").mkdir(parents=True)
    (locale / "validated.tsv").write_bytes(content)
    return _corpus(here, "common_voice", "data/cv-corpus-1")


@_mistake
def a_TSV_without_a_needed_column(here, command):  # noqa: N802 - a name of the page
    return _table(here, b"client_id\tpath\ttext\n1\ta.mp3\tHello.\n")


@_mistake
def a_TSV_of_zero_length(here, command):  # noqa: N802 - a name of the page
    return _table(here, b"")


@_mistake
def a_TSV_in_UTF_16(here, command):  # noqa: N802 - a name of the page
    return _table(here, "client_id\tpath\tsentence\n".encode("utf-16"))


@_mistake
def a_TSV_without_rows(here, command):  # noqa: N802 - a name of the page
    return _table(here, b"client_id\tpath\tsentence\n")


def _parquet(here: Path, table: pa.Table, *, cut: int = 0) -> Sequence[object]:
    (here / "data/hub").mkdir()
    path = here / "data/hub/train.parquet"
    pq.write_table(table, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
    return _corpus(here, "huggingface", "data/hub", streaming=True, language="en")


@_mistake
def a_Parquet_corpus_with_a_foreign_schema(here, command):  # noqa: N802 - a name of the page
    return _parquet(here, pa.table({"name": ["a"], "value": [1]}))


@_mistake
def a_Parquet_corpus_with_a_cut_footer(here, command):  # noqa: N802 - a name of the page
    return _parquet(here, pa.table({"audio": ["a"], "text": ["Hello."]}), cut=20)


@_mistake
def a_working_folder_with_a_resource_fork(here, command):
    (here / ".AppleDouble").mkdir()
    return _corpus(here, "librispeech", "data/LibriSpeech")


# pools and templates


def _pool(here: Path, *texts: str, language: str = "en") -> Sequence[object]:
    (here / "pools").mkdir(exist_ok=True)
    entries = [
        {"id": "rhyme.01", "text": text, "audio": text, "held_out": False, "tags": []}
        for text in texts
    ]
    pool = {"task": "rhyme", "language": language, "licence": "CC0-1.0", "source": "a test"}
    content = json.dumps(pool | {"instructions": entries}, indent=1)
    (here / f"pools/rhyme.{language}.yaml").write_text(content, encoding="utf-8")
    write_run(here, prompts={"pools": ["pools"]}, tasks={"rhyme": {"weight": 1}})
    return ("run", "run.yaml")


@_mistake
def a_pool_with_an_undefined_variable(here, command):
    return _pool(here, "Rhyme on {{ mood }}.")


@_mistake
def a_pool_that_reaches_out_of_the_sandbox(here, command):
    return _pool(here, "Rhyme on {{ ''.__class__.__mro__ }}.")


@_mistake
def a_pool_with_a_loop(here, command):
    return _pool(here, "{% for word in words %}Rhyme.{% endfor %}")


@_mistake
def a_pool_with_output_without_end(here, command):
    return _pool(here, "{{ 'aaaaaaaaaa'" + "|replace('a', 'aaaaaaaaaa')" * 20 + " }}")


@_mistake
def a_pool_with_an_id_twice(here, command):
    return _pool(here, "Rhyme on this text.", "Make a rhyme on this text.")


@_mistake
def a_pool_whose_id_another_pool_has(here, command):
    _pool(here, "Reime darauf.", language="de")
    return _pool(here, "Rhyme on this text.")


def _template(here: Path, source: str) -> Sequence[object]:
    (here / "mine.j2").write_text(source, encoding="utf-8")
    write_run(here, prompts={"templates": {"mine.j2": 1}})
    return ("run", "run.yaml")


@_mistake
def a_template_that_loops(here, command):
    return _template(here, "{{ instruction }}{% for word in content %}{{ word }}{% endfor %}")


@_mistake
def a_template_with_an_undefined_variable(here, command):
    return _template(here, "{{ instruction }} {{ content }} {{ mood }}")


@_mistake
def a_template_without_the_transcript(here, command):
    return _template(here, "{{ instruction }}")


# models


def _model(here: Path, template: str | None = None) -> Path:
    (qwen,) = (family for family in FAMILIES if family.name == "qwen")
    folder = write_model(here / "model", qwen)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    write_run(here, backbone={"engine": "scripted", "tokenizer": "model"})
    return folder


@_mistake
def a_model_folder_that_is_not_there(here, command):
    write_run(here, backbone={"engine": "scripted", "tokenizer": "./model"})
    return ("run", "run.yaml")


@_mistake
def a_model_folder_without_a_tokenizer(here, command):
    (_model(here) / "tokenizer.json").unlink()
    return ("run", "run.yaml")


@_mistake
def a_model_folder_with_a_torn_tokenizer(here, command):
    tokenizer = _model(here) / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes()[:10_000])
    return ("run", "run.yaml")


@_mistake
def a_chat_template_that_raises(here, command):
    _model(here, "{{ raise_exception('no roles today') }}")
    return ("run", "run.yaml")


@_mistake
def a_chat_template_that_is_torn(here, command):
    _model(here, "{% for m in messages %}{{ m.content }}")
    return ("run", "run.yaml")


@_mistake
def a_chat_template_that_leaves_its_sandbox(here, command):
    _model(here, "{{ ''.__class__.__mro__ }}{{ messages[0].content }}")
    return ("run", "run.yaml")


@_mistake
def a_chat_template_that_edits_transcripts(here, command):
    _model(here, "{% for m in messages %}{{ m.content | upper }}{% endfor %}")
    return ("run", "run.yaml")


# configuration and output


def _set(here: Path, change: str) -> Sequence[object]:
    write_run(here)
    return ("run", "run.yaml", "--set", change)


@_mistake
def an_unknown_key(here, command):
    return _set(here, "sead=2")


@_mistake
def an_unknown_key_of_a_corpus(here, command):
    return _set(here, "corpora.0.subset=train")


@_mistake
def an_unknown_kind_of_corpus(here, command):
    return _set(here, "corpora.0.kind=libri")


@_mistake
def a_value_out_of_range(here, command):
    return _set(here, "part_size=0")


@_mistake
def a_configuration_that_is_not_there(here, command):
    return ("run", "run.yaml")


@_mistake
def a_configuration_that_is_no_YAML(here, command):  # noqa: N802 - a name of the page
    (here / "run.yaml").write_text("seed: [1\n", encoding="utf-8")
    return ("run", "run.yaml")


@_mistake
def a_configuration_that_is_not_UTF_8(here, command):  # noqa: N802 - a name of the page
    (here / "run.yaml").write_bytes(b"seed: 1\noutput: \xff\n")
    return ("run", "run.yaml")


@_mistake
def an_output_that_is_a_file(here, command):
    return _set(here, "output=run.yaml")


@_mistake
def an_output_that_can_not_be_written(here, command):
    return _set(here, "output=/proc/dataset")


@_mistake
def an_output_whose_name_is_a_pattern_that_can_not_be_escaped(here, command):
    return _set(here, "output='a\\b[1]'")
