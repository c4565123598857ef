"""One document says what a run makes; what it can't mean is refused with a sentence."""

import datetime as dt
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.config import RunConfig, load_config, recipe_names, resolve, resolved_document
from sllm_data.documents import differences, identity_hash, identity_of
from sllm_data.errors import ConfigError


def smallest() -> dict[str, object]:
    return {
        "seed": 1,
        "output": "out",
        "corpora": [{"kind": "librispeech", "path": "data"}],
        "backbone": {"engine": "scripted"},
    }


def resolved(**fields: object) -> RunConfig:
    return resolve(smallest() | fields, where="run.yaml")


def refusal(**fields: object) -> str:
    with pytest.raises(ConfigError) as caught:
        resolved(**fields)
    said = str(caught.value)
    assert said.startswith("run.yaml: ")
    assert "\n" not in said
    return said.removeprefix("run.yaml: ")


@pytest.fixture
def run_yaml(tmp_path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(smallest()))
    return path


def test_the_smallest_document_is_completed_by_its_recipe(run_yaml):
    config = load_config(run_yaml)
    assert config.recipe == "self_powered"
    assert "transcription" in config.tasks
    assert config.tasks["transcription"].target == "transcript"
    assert config.backbone.temperature == 0.0
    assert config.output == Path("out")


def test_the_recipes_that_ship_are_complete():
    assert "self_powered" in recipe_names()
    for name in recipe_names():
        assert resolved(recipe=name).tasks


# three layers


def test_the_document_wins_over_the_recipe_key_by_key():
    config = resolved(tasks={"summary": {"weight": 2.5}}, draw={"mode": "quota"})
    assert config.tasks["summary"].weight == 2.5
    assert config.tasks["summary"].min_words == 12
    assert config.draw.mode == "quota"
    assert config.draw.multi_task_count == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("templates", {"content_first": 1.0}),
        ("instruction_languages", {"de": 1.0}),
    ],
)
def test_shares_are_replaced_as_a_whole(field, value):
    assert getattr(resolved(prompts={field: value}).prompts, field) == value


def test_lists_are_replaced_as_a_whole():
    assert resolved(tasks={"translation": {"to": ["it"]}}).tasks["translation"].to == ("it",)


def test_a_recipe_of_ones_own_is_named_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("tasks: {summary: {max_tokens: 9}}")
    config = resolved(recipe=str(path))
    assert list(config.tasks) == ["summary"]


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(
        ConfigError, match=r"recipe must be one of .*self_powered, testbed or .* got 'blps'"
    ):
        resolved(recipe="blps")


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yml: can't be read"):
        resolved(recipe=str(tmp_path / "none.yml"))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=7", lambda c: c.seed == 7),
        ("draw.mode=quota", lambda c: c.draw.mode == "quota"),
        ("corpora.0.limit=5", lambda c: c.corpora[0].limit == 5),
        ("corpora.0={kind: librispeech, path: x}", lambda c: c.corpora[0].path == Path("x")),
        ("tasks.summary.weight=2", lambda c: c.tasks["summary"].weight == 2.0),
        ("tasks.translation.to=[it]", lambda c: c.tasks["translation"].to == ("it",)),
        ("backbone.system=a=b", lambda c: c.backbone.system == "a=b"),
        ("backbone.system=", lambda c: c.backbone.system is None),
        ("output=else where", lambda c: c.output == Path("else where")),
    ],
)
def test_set_wins_over_the_document(run_yaml, override, expected):
    assert expected(load_config(run_yaml, [override]))


def test_the_last_set_wins(run_yaml):
    assert load_config(run_yaml, ["seed=2", "seed=3"]).seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set must be name=value, got 'seed'"),
        ("=1", "--set must be name=value, got '=1'"),
        ("seed.low=1", "--set seed.low: 'seed' is a value, it has no fields"),
        ("corpora.0.path.x=1", "'path' is a value"),
        ("corpora.1.limit=5", "'1' must be a position from 0 to 0"),
        ("corpora.first=5", "'first' must be a position from 0 to 0"),
        ("corpora.-1=5", "'-1' must be a position"),
        ("seed={", "--set seed: the value must be YAML, got '{'"),
        ("seed=2024-13-45", "--set seed: the value must be YAML"),
        ("sede=1", "sede is not a known key; did you mean 'seed'?"),
        ("draw..mode=quota", "is not a known key"),
    ],
)
def test_a_set_that_means_nothing_is_refused(run_yaml, override, message):
    with pytest.raises(ConfigError) as caught:
        load_config(run_yaml, [override])
    assert message in str(caught.value)


def test_a_set_that_is_nested_beyond_measure_is_refused(run_yaml):
    with pytest.raises(ConfigError, match="--set seed: the value must be YAML"):
        load_config(run_yaml, ["seed=" + "[" * 3_000])


# what can't be meant


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"corpus": []}, "corpus is not a known key; did you mean 'corpora'?"),
        ({"xyzzy": 1}, "xyzzy is not a known key"),
        ({"draw": {"mod": "quota"}}, "draw.mod is not a known key; did you mean 'mode'?"),
        (
            {"tasks": {"intent": {"wieght": 1}}},
            "tasks.intent.wieght is not a known key; did you mean 'weight'?",
        ),
        (
            {"corpora": [{"kind": "librispeech", "path": "x", "subset": ["a"]}]},
            "corpora.0.subset is not a known key; did you mean 'subsets'?",
        ),
        ({"corpora": [{"kind": "librispeech"}]}, "corpora.0.path must be given"),
        ({"corpora": [{"path": "x"}]}, "corpora.0.kind must be given"),
        ({"backbone": {}}, "backbone.engine must be given"),
        ({"backbone": {"engine": "vllm"}}, "backbone.model must be given"),
        ({"seed": -1}, "seed: must be greater than or equal to 0, got -1"),
        ({"seed": None}, "seed: must be a valid integer, got None"),
        ({"corpora": []}, "corpora: must list at least 1, got []"),
        ({"corpora": "data"}, "corpora: must be a list, got 'data'"),
        ({"corpora": ["data"]}, "corpora.0: must be a mapping of names to values, got 'data'"),
        ({"tasks": ["intent"]}, "tasks: must be a mapping of names to values, got ['intent']"),
        ({"splits": 0.1}, "splits: must be a mapping of names to values, got 0.1"),
        ({"max_rejected_fraction": float("nan")}, "max_rejected_fraction: "),
        (
            {"tasks": {"intent": {"weight": float("inf")}}},
            "tasks.intent.weight: must be a finite number, got inf",
        ),
        ({"splits": {"test": 0.7, "validation": 0.7}}, "splits: validation + test must be below"),
        (
            {"tasks": {"translation": {"to": [], "response_language": "to"}}},
            "tasks.translation: response_language 'to' needs at least one language",
        ),
        ({"runner": {"workers": "many"}}, "runner.workers"),
    ],
)
def test_the_sentence_names_the_field_the_rule_and_what_was_found(fields, message):
    assert message in refusal(**fields)


def test_further_problems_are_counted():
    assert refusal(seed=-1, part_size=0).endswith("got -1 (and 1 more)")


def test_a_missing_key_is_named():
    document = smallest()
    del document["output"]
    with pytest.raises(ConfigError, match=r"^here: output must be given$"):
        resolve(document, where="here")


def _silenced(**fields: object) -> dict[str, object]:
    names = resolved().tasks
    return {name: {"weight": 0} for name in names} | fields


def test_a_run_must_have_something_to_ask():
    assert "at least one task must have a weight above 0" in refusal(tasks=_silenced())


def test_a_run_must_have_something_to_ask_in_train():
    tasks = _silenced(summary={"weight": 1, "held_out": True})
    assert "at least one task with a weight must not be held out" in refusal(tasks=tasks)


def test_what_was_found_is_shown_in_a_bounded_way():
    found: object = "x"
    for _ in range(40):
        found = [found] * 9
    assert len(refusal(seed=found)) < 2_000
    assert len(refusal(seed="9" * 100_000)) < 2_000


# the file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold data, but the file is empty"),
        (b"- a", "must be a mapping of names to values"),
        (b"1: a", "must be a mapping of names to values"),
        (b"seed: [1", "line 1: is not valid YAML"),
        (b"seed: 2024-13-45", "holds an impossible value"),
        (b"seed: \xff", "must be UTF-8"),
        (b"seed: 1\nseed: 2", "line 2: the key seed stands here twice"),
        (b"seed: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        (b"seed: " + b"[" * 3_000, "is nested too deeply"),
        (b"a: &a [x]\nb: *a", "an alias points here; write the value out"),
        (b"a: 1\n" + b"#" * 1_000_000, "must be at most 1,000,000 bytes"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_yaml_bomb_is_refused_before_it_grows(tmp_path):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="an alias points here"):
        load_config(tmp_path / "run.yaml")


def test_a_merge_bomb_is_refused_before_it_grows(tmp_path):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 40)]
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="an alias points here"):
        load_config(tmp_path / "run.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.yaml: can't be read: No such file"):
        load_config(tmp_path / "run.yaml")


# what rows depend on


def test_the_identity_holds_what_rows_depend_on_and_nothing_else():
    identity = identity_of(resolved())
    assert {"seed", "corpora", "tasks", "backbone", "part_size"} <= identity.keys()
    assert not {"output", "reuse", "max_rejected_fraction"} & identity.keys()
    assert identity["runner"] == {}
    assert "path" not in identity["corpora"][0]


@pytest.mark.parametrize(
    "fields",
    [
        {"output": "elsewhere"},
        {"max_rejected_fraction": 0.9},
        {"runner": {"kind": "serial"}},
        {"corpora": [{"kind": "librispeech", "path": "moved"}]},
        {"reuse": ["old"]},
    ],
)
def test_operational_fields_leave_the_identity_as_it_is(fields):
    assert identity_of(resolved(**fields)) == identity_of(resolved())


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"seed": 2}, "seed: 1 -> 2"),
        ({"draw": {"mode": "quota"}}, "draw.mode: 'draw' -> 'quota'"),
        ({"tasks": {"summary": {"weight": 1}}}, "tasks.summary.weight: 0.0 -> 1.0"),
        (
            {"corpora": [{"kind": "librispeech", "path": "x", "limit": 3}]},
            "corpora.0.limit: None -> 3",
        ),
        (
            {"tasks": {"translation": {"to": ["it"]}}},
            "tasks.translation.to: ['de', 'en', 'es', 'fr', 'zh'] -> ['it']",
        ),
    ],
)
def test_differences_name_the_field_and_both_values(fields, line):
    assert differences(identity_of(resolved()), identity_of(resolved(**fields))) == [line]


trees = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("xyz"), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(trees, trees)
def test_there_are_differences_exactly_where_values_differ(old, new):
    # a missing key and one that is null say the same
    assert bool(differences(old, new)) == (_without_null(old) != _without_null(new))


def _without_null(value: object) -> object:
    if isinstance(value, dict):
        kept = {key: _without_null(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not None}
    return [_without_null(inner) for inner in value] if isinstance(value, list) else value


def test_the_identity_and_the_resolved_document_are_plain_json():
    config = resolved(tasks={"translation": {"to": ["it"]}})
    for document in (identity_of(config), resolved_document(config)):
        assert json.loads(json.dumps(document)) == document


def test_a_resolved_document_resolves_to_the_same_configuration():
    config = resolved(corpora=[{"kind": "common_voice", "path": "cv", "locales": ["de"]}])
    assert resolve(resolved_document(config), where="run.yaml") == config


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=4), st.randoms())
def test_an_identity_hash_does_not_depend_on_the_order_of_keys(document, chance):
    items = list(document.items())
    chance.shuffle(items)
    assert identity_hash(dict(items)) == identity_hash(document)


def test_an_identity_hash_depends_on_every_part():
    assert len({identity_hash("a", "b"), identity_hash("ab"), identity_hash(["a", "b"])}) == 3


# what is written by hand, or by nobody


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"since": dt.date(2026, 1, 1)}, "must hold plain JSON values"),
        ({"a": b"x"}, "must hold plain JSON values"),
        ({"a": float("nan")}, "must hold plain JSON values"),
        ({"a": {1: 2}}, "names are text"),
    ],
)
def test_template_kwargs_that_can_not_be_written_down_are_refused(value, message):
    backbone = {"engine": "scripted", "template_kwargs": value}
    assert message in refusal(backbone=backbone)


@pytest.mark.parametrize(
    "override",
    [
        "backbone.template_kwargs=&x {a: *x}",
        f"corpora.{'9' * 5_000}.name=x",
        "seed=!!int ''",
        "seed=0x" + "f" * 4_000,
        'speaker_salt="\\ud800"',
    ],
)
def test_an_override_that_nothing_can_use_is_refused(run_yaml, override):
    with pytest.raises(ConfigError, match="--set"):
        load_config(run_yaml, [override])


def test_what_a_text_must_look_like_is_said_in_words():
    said = refusal(watch={"otlp_endpoint": "ftp://collector"})
    assert said.startswith("watch.otlp_endpoint: must fit its description, 'URL of a collector")
    assert said.endswith(", got 'ftp://collector'")
    said = refusal(runner={"kind": "ray", "address": "here"})
    assert said.startswith("runner.address: must fit its description, 'of a Ray cluster: `host")


def test_a_key_of_a_megabyte_is_refused_in_a_sentence(run_yaml):
    run_yaml.write_text(run_yaml.read_text() + f"{'seed' * 200}: 1\n")
    with pytest.raises(ConfigError, match="is not a known key"):
        load_config(run_yaml)
