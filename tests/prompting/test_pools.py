import json
from pathlib import Path

import pytest
import yaml

from sllm_data.errors import PoolError
from sllm_data.files import sha256_of_file
from sllm_data.prompting.pools import load_pool, load_pools

ENTRY = {
    "id": "summary.en.01",
    "text": "Sum up this text.",
    "audio": "Sum up this speech.",
    "held_out": False,
    "tags": ["short"],
}
POOL = {
    "task": "summary",
    "language": "en",
    "licence": "CC0-1.0",
    "source": "a test",
    "instructions": [ENTRY],
}


def write(folder: Path, content: object, name: str = "summary.en.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    plain = json.loads(json.dumps(content))  # or YAML would write equal objects as aliases
    path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return path


def message_of(path: Path) -> str:
    with pytest.raises(PoolError) as caught:
        load_pool(path)
    return str(caught.value)


def test_a_pool_keeps_its_wordings_in_the_order_of_its_file(tmp_path: Path) -> None:
    entries = [ENTRY | {"id": f"summary.en.{name}"} for name in ("b", "a", "c")]
    path = write(tmp_path, POOL | {"instructions": entries})
    pool = load_pool(path)
    assert [instruction.id[-1] for instruction in pool.instructions] == ["b", "a", "c"]
    assert pool.instructions[0].tags == ("short",)
    assert (pool.path, pool.licence, pool.source) == (path, "CC0-1.0", "a test")


def test_the_hash_of_a_pool_is_that_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, POOL)
    assert load_pool(path).sha256 == sha256_of_file(path)


def test_a_wording_loses_the_space_around_it(tmp_path: Path) -> None:
    path = write(tmp_path, POOL | {"instructions": [ENTRY | {"text": "Sum up this text.\n"}]})
    assert load_pool(path).instructions[0].text == "Sum up this text."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"licence": None}, "line 3: licence: input should be a valid string, found NoneType"),
        ({"language": False}, "line 2: language: input should be a valid string, found bool"),
        ({"colour": "red"}, "colour: is not a key that is known here"),
        ({"instructions": []}, "instructions: list should have at least 1 item"),
        ({"instructions": {}}, "line 5: instructions: input should be a valid list"),
        ({"task": "Summary"}, "line 1: task: string should match pattern"),
        ({"instructions": [ENTRY | {"text": "  "}]}, "line 7: instructions.0.text: string"),
        ({"instructions": [ENTRY | {"id": "Summary 1"}]}, "line 6: instructions.0.id: string"),
        ({"instructions": [ENTRY | {"held_out": "no"}]}, "instructions.0.held_out: input should"),
        ({"instructions": [ENTRY | {"tags": ["a", 1]}]}, "instructions.0.tags.1: input should"),
        ({"instructions": [ENTRY, ENTRY]}, "line 12: the id summary.en.01 must be unique"),
        (
            {"instructions": [ENTRY | {"audio": "Say {{ x() }}."}]},
            "line 8: audio: template summary.en.01, line 1: a call is not allowed",
        ),
    ],
)
def test_a_malformed_pool_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = write(tmp_path, POOL | change)
    message = message_of(path)
    assert message.startswith(str(path))
    assert said in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    entry = {key: value for key, value in ENTRY.items() if key != "audio"}
    path = write(tmp_path, POOL | {"instructions": [entry]})
    assert "line 6: instructions.0.audio: is required" in message_of(path)


def test_a_file_that_holds_a_list_is_refused(tmp_path: Path) -> None:
    assert "line 1: the file: input should" in message_of(write(tmp_path, [1, 2]))


@pytest.mark.parametrize("name", ["summary.de.yaml", "intent.en.yaml", "summary.yaml"])
def test_a_pool_under_another_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "must be called summary.en.yaml" in message_of(write(tmp_path, POOL, name))


def test_a_later_folder_replaces_the_whole_pool(tmp_path: Path) -> None:
    write(tmp_path / "one", POOL | {"instructions": [ENTRY, ENTRY | {"id": "summary.en.02"}]})
    write(tmp_path / "two", POOL | {"source": "mine"})
    pools = load_pools([tmp_path / "one", tmp_path / "two"])
    assert len(pools) == 1
    assert pools.get("summary", "en").source == "mine"
    assert len(pools.get("summary", "en").instructions) == 1


def test_a_later_folder_adds_its_other_pools(tmp_path: Path) -> None:
    french = POOL | {"language": "fr", "instructions": [ENTRY | {"id": "summary.fr.01"}]}
    write(tmp_path / "one", POOL)
    write(tmp_path / "two", french, "summary.fr.yaml")
    pools = load_pools([tmp_path / "one", tmp_path / "two"])
    assert pools.languages("summary") == ("en", "fr")
    assert pools.languages("intent") == ()
    assert pools.tasks() == ("summary",)


def test_pools_iterate_by_task_and_language(tmp_path: Path) -> None:
    for task, language in (("summary", "en"), ("summary", "de"), ("intent", "en")):
        entry = ENTRY | {"id": f"{task}.{language}.01"}
        pool = POOL | {"task": task, "language": language, "instructions": [entry]}
        write(tmp_path, pool, f"{task}.{language}.yaml")
    names = [(pool.task, pool.language) for pool in load_pools([tmp_path])]
    assert names == [("intent", "en"), ("summary", "de"), ("summary", "en")]


def test_two_pools_with_one_id_are_refused(tmp_path: Path) -> None:
    write(tmp_path, POOL)
    write(tmp_path, POOL | {"language": "de"}, "summary.de.yaml")
    with pytest.raises(PoolError, match=r"the id summary\.en\.01 must be unique, but .*summary"):
        load_pools([tmp_path])


def test_a_missing_language_is_answered_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, POOL)
    with pytest.raises(PoolError, match="task summary in language fr; there is one in: en"):
        load_pools([tmp_path]).get("summary", "fr")


def test_a_missing_task_is_answered_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, POOL)
    with pytest.raises(PoolError, match=r"no pool for task intent; there is one for: summary"):
        load_pools([tmp_path]).get("intent", "en")


def test_without_pools_every_task_is_missing() -> None:
    with pytest.raises(PoolError, match="there is one for: none"):
        load_pools([]).get("intent", "en")


def test_a_folder_that_is_missing_empty_or_misnamed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="must be a folder"):
        load_pools([tmp_path / "absent"])
    with pytest.raises(PoolError, match="must hold a pool"):
        load_pools([tmp_path])
    write(tmp_path, POOL, "summary.en.yml")
    with pytest.raises(PoolError, match=r"must end in \.yaml"):
        load_pools([tmp_path])
