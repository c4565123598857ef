"""docs/validation.md: its tables are made from the code, and its examples hold."""

import re

import pytest
import typer
import yaml

from docs import make_validation
from sllm_data.cli import app
from sllm_data.validation.contract import load_contract
from sllm_data.validation.levels import RULES

PAGE = make_validation.FILE.read_text(encoding="utf-8")


def test_the_tables_say_what_the_code_says():
    assert make_validation.document() == PAGE


def test_every_rule_is_explained_once():
    assert sorted(
        re.findall(r"^\| `(\w+)` \| .* \| (?:error|warning) \|", PAGE, re.MULTILINE)
    ) == (sorted(RULES))


def test_every_option_is_explained():
    command = typer.main.get_command(app).commands["validate"]
    options = {name for option in command.params for name in option.opts if name.startswith("--")}
    assert options == set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE))


def _yaml(wanted: str) -> str:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (found,) = (block for block in blocks if wanted in block)
    return found


def test_the_contract_of_the_page_is_accepted(tmp_path):
    path = tmp_path / "contract.yaml"
    path.write_text(_yaml("extra_columns"))
    load_contract(path).check_rules(RULES.keys(), where="docs")


def test_the_workflow_of_the_page_runs_commands_that_exist():
    workflow = yaml.safe_load(_yaml("upload-artifact"))
    runs = [step["run"] for step in workflow["jobs"]["validate"]["steps"] if "run" in step]
    known = {
        name for p in typer.main.get_command(app).commands["validate"].params for name in p.opts
    }
    for run in (run for run in runs if "sllm-data" in run):
        assert set(re.findall(r"--[a-z-]+", run)) <= known
        assert re.search(r"--format (junit|markdown)", run)


@pytest.mark.parametrize("level", range(4))
def test_every_level_has_a_table(level):
    assert f"### Level {level}" in PAGE
