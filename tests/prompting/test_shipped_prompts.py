import re
import runpy
from pathlib import Path

import pytest

from sllm_data.files import shipped_folder
from sllm_data.prompting.languages import language_name
from sllm_data.prompting.lint import lint_pools
from sllm_data.prompting.pools import Pool, load_pools
from sllm_data.prompting.templates import CHAT_TEMPLATE, FIELDS, load_template
from sllm_data.prompting.twins import render_twin

GOLDENS = Path(__file__).parent.parent / "goldens"
POOLS = load_pools([shipped_folder("instruction_pools")])
TASKS = (
    *("continuation", "intent", "keywords", "repetition"),
    *("sentiment", "summary", "transcription", "translation"),
    *("entities", "formality", "ordering", "reply", "rewriting", "title"),
    *("stretch_continuation", "stretch_transcription"),
    *("question_answering", "verification", "emotional_continuation", "emotional_reply"),
)
TEMPLATES = {
    "instruction_first": "task",
    "content_first": "task",
    "restore": "restore",
    "question": "question",
    "statement_true": "question",
    "statement_false": "question",
    "followup": "followup",
    "judge": "judge",
}


def test_every_task_has_a_pool_in_english_and_german() -> None:
    testbed = {pool.task for pool in POOLS if pool.language == "en-testbed"}
    assert set(TASKS) | testbed == set(POOLS.tasks())
    for task in TASKS:
        assert set(POOLS.languages(task)) - {"en-testbed"} == {"de", "en"}


def test_shipped_pools_lint_clean() -> None:
    assert lint_pools(POOLS) == []


@pytest.mark.parametrize("pool", list(POOLS), ids=lambda pool: pool.path.name)
def test_a_shipped_pool_has_enough_wordings_and_holds_some_out(pool: Pool) -> None:
    english = pool.language.startswith("en")
    assert len(pool.instructions) >= (8 if english else 4)
    held_out = sum(instruction.held_out for instruction in pool.instructions)
    assert held_out == (2 if english else 1)
    assert pool.licence == "CC0-1.0"


@pytest.mark.parametrize("pool", list(POOLS), ids=lambda pool: pool.path.name)
@pytest.mark.parametrize("name", ["instruction_first", "content_first"])
def test_every_shipped_wording_renders_without_a_trace_of_jinja(pool: Pool, name: str) -> None:
    fields = {
        "target_language": language_name("fr", pool.language),
        "question": "Who sings?",
        "statement": "Nobody sings.",
        "emotion": "gleeful",
    }
    for instruction in pool.instructions:
        twin = render_twin(
            template=load_template(name, fields=FIELDS["task"]),
            instruction=instruction,
            transcript="hello there",
            fields=fields,
            system=None,
        )
        for side in (twin.text_messages[0].content, "".join(twin.audio_turn)):
            assert not re.search(r"[{}%]|\n\n\n", side)
            assert (fields["target_language"] in side) == (pool.task == "translation")
            assert (fields["question"] in side) == (pool.task == "question_answering")
            asks_back = pool.task == "verification" and pool.language != "en-testbed"
            assert (fields["statement"] in side) == asks_back
        assert (fields["emotion"] in twin.text_messages[0].content) == (
            pool.task in ("emotional_continuation", "emotional_reply")
        )
        assert fields["emotion"] not in "".join(twin.audio_turn)


def test_every_template_is_known_here() -> None:
    files = {path.stem for path in shipped_folder("prompts").glob("*.j2")}
    assert files == {*TEMPLATES, CHAT_TEMPLATE}


@pytest.mark.parametrize(("name", "kind"), TEMPLATES.items())
def test_a_template_reads_exactly_what_its_renderer_passes(name: str, kind: str) -> None:
    assert load_template(name).variables == FIELDS[kind]


def test_prompts_are_as_in_their_goldens() -> None:
    expected = runpy.run_path(str(GOLDENS / "make_prompts.py"))["goldens"]()
    files = (GOLDENS / "prompts").iterdir()
    assert {path.name: path.read_bytes().decode() for path in files} == expected
