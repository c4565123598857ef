"""README and docs: commands exist, snippets run, configurations parse, links lead somewhere."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import typer
import yaml
from typer.core import TyperGroup

from sllm_data.cli import app
from sllm_data.config import document_schema, resolve
from sllm_data.files import inside
from sllm_data.shards import TABLES
from sllm_data.steps import Progress, run_all
from sllm_data.testbed import write_librispeech

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]

# cut in two, so that this file does not hold what it looks for
MACHINE = re.compile("(?<![\\w.~})-])(?:/ho" + "me/|/Us" + "ers/|/ro" + "ot/|/wo" + "rk/)\\w")
INDEX = re.compile("py" + "pi\\.|index" + "-url|INDEX" + "_URL|https?://\\S+/sim" + "ple\\b")


def _blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def _command_names(group: TyperGroup, prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, command in group.commands.items():
        full = f"{prefix}{name}"
        names += _command_names(command, f"{full} ") if hasattr(command, "commands") else [full]
    return names


def _commands() -> list[str]:
    root: Any = typer.main.get_command(app)
    return _command_names(root)


def _run_documents() -> list[Any]:
    """Every YAML block of the pages that is a whole run.yaml."""
    found = []
    for page in PAGES:
        for number, block in enumerate(_blocks(page, "yaml")):
            document = yaml.safe_load(block)
            if isinstance(document, dict) and {"seed", "output", "corpora"} <= document.keys():
                found.append(pytest.param(document, id=f"{page.name}-{number}"))
    return found


def _parts_of_documents() -> list[Any]:
    """Every YAML block that shows only some fields of a run.yaml."""
    fields = document_schema()["properties"].keys()
    found = []
    for page in PAGES:
        for number, block in enumerate(_blocks(page, "yaml")):
            document = yaml.safe_load(block)
            if document.keys() <= fields and "seed" not in document:
                found.append(pytest.param(document, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("command", _commands())
def test_the_readme_names_every_command(command):
    rows = re.findall(r"^\| `sllm-data ([a-z -]+)", README.read_text(), re.MULTILINE)
    assert command in [row.strip() for row in rows]


def test_every_command_that_is_named_exists():
    known = set(_commands())
    groups = {name.split()[0] for name in known if " " in name}
    for page in PAGES:
        for words in re.findall(r"sllm-data ((?:[a-z][a-z-]* ?)+)", _code_of(page)):
            first, *rest = words.split()
            if first in groups and rest:
                assert f"{first} {rest[0]}" in known, page.name
            else:
                assert first in known | groups, f"{page.name}: sllm-data {words}"


def _code_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"```\w*\n.*?```", text, re.DOTALL)
    inline = re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [code.strip("`") for code in inline] + [
        line for block in fenced for line in block.splitlines()
    ]
    return "\n".join(line for line in lines if re.match(r"\s*(\S*/)?sllm-data ", line))


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets, page.name


@pytest.mark.parametrize("document", _run_documents())
def test_every_run_yaml_is_accepted(document):
    assert resolve(document, where="docs").seed == document["seed"]


@pytest.mark.parametrize("part", _parts_of_documents())
def test_every_part_of_a_run_yaml_is_accepted(part):
    whole = {
        "seed": 1,
        "output": "out",
        "corpora": [{"kind": "librispeech", "path": "data/LibriSpeech"}],
        "backbone": {"engine": "scripted"},
    }
    assert resolve(whole | part, where="docs").seed == 1


def test_the_readme_shows_a_local_run_and_one_with_qwen():
    documents = [yaml.safe_load(block) for block in _blocks(README, "yaml")]
    models = [each["backbone"]["model"] for each in documents if "backbone" in each]
    assert "Qwen/Qwen2.5-7B-Instruct" in models
    assert len(models) == 2


def test_every_field_of_the_configuration_table_exists_and_has_its_default():
    config = resolve(yaml.safe_load(_blocks(README, "yaml")[0]), where="README")
    table = README.read_text().split("## Configuration")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|", table, re.MULTILINE)
    assert len(rows) > 15
    for names, default in rows:
        for name in re.findall(r"`([^`]+)`", names):
            value: Any = config
            for field in name.replace("NAME", "repetition").split("."):
                value = value[field] if isinstance(value, dict) else getattr(value, field)
            if default.startswith("`"):
                shown = yaml.safe_load(default.strip("`"))
                assert shown == (list(value) if isinstance(value, tuple) else value), name


def test_the_sample_has_columns_of_the_contract():
    (block,) = _blocks(README, "json")
    sample = json.loads(block)
    schema = pa.schema([(column.name, column.type) for column in TABLES["samples"].columns])
    assert sample.keys() <= set(schema.names)
    for struct in ("generator", "quality", "source"):
        assert sample[struct].keys() <= {field.name for field in schema.field(struct).type}
    assert sample["messages"][-1]["content"][0]["text"] == sample["text_messages"][-1]["content"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small dataset at out/my-corpus below the folder that is returned."""
    folder = tmp_path_factory.mktemp("readme")
    speech = folder / "data/LibriSpeech"
    write_librispeech(speech, subsets={"train-clean-100": 12}, num_speakers=2, seed=5)
    document = yaml.safe_load(_blocks(README, "yaml")[0]) | {
        "output": str(folder / "out/my-corpus"),
        "corpora": [{"kind": "librispeech", "path": str(speech)}],
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
    }
    for _ in run_all(resolve(document, where="README"), Progress(None)):
        pass
    return folder


@pytest.fixture
def snippets(dataset, monkeypatch, tmp_path):
    """The Python blocks of the README, in a folder where they can run."""
    monkeypatch.chdir(dataset)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    return _blocks(README, "python")


def _executed(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the lines that the README tells people to run
    return names


def test_the_readme_has_one_snippet_for_each_reader(snippets):
    readers = [re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)[0] for code in snippets]
    assert readers == ["datasets", "duckdb", "pyarrow"]


def test_the_datasets_snippet_plays_the_clip_of_a_sample(snippets):
    names = _executed(snippets[0])
    span = names["sample"]["messages"][0]["content"][1]
    assert names["waveform"].shape[1] == span["num_samples"]
    assert names["samples"].num_rows >= 12


def test_the_duckdb_snippet_counts_hours(snippets):
    hours = _executed(snippets[1])["hours"]
    assert {split for _, split, _, _ in hours} == {"train"}
    assert all(number > 0 and duration > 0 for _, _, number, duration in hours)


def test_the_pyarrow_snippet_reads_training_rows(snippets):
    table = _executed(snippets[2])["table"]
    assert table.num_rows >= 1
    assert table.column_names == ["sample_id", "task", "response", "audio_refs"]


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\[[^\]\n]+\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert inside(ROOT, str(there.relative_to(ROOT))), target
        assert there.is_file(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(there), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page():
    text = README.read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in text


def _tracked() -> list[Path]:
    """The files of the project; where it is no checkout, there is nothing to look through."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_holds_a_path_of_a_machine_or_the_address_of_a_package_index():
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # no text
        found += [
            f"{path.relative_to(ROOT)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if MACHINE.search(line) or INDEX.search(line)
        ]
    assert found == []


@pytest.mark.parametrize("line", ["x = '/ro" + "ot/x'", "--extra-index" + "-url", "py" + "pi.org"])
def test_the_search_for_addresses_finds_them(line):
    assert MACHINE.search(line) or INDEX.search(line)
