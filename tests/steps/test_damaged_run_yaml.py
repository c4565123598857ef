"""A dataset's run.yaml that somebody edited, or that is not whole any more."""

import pytest
import yaml

from sllm_data.config import resolve
from sllm_data.errors import OutputError
from sllm_data.steps.dataset import open_dataset


@pytest.fixture
def begun(tmp_path):
    """The configuration of a dataset whose steps have begun; its run.yaml is written."""
    root = tmp_path / "d"
    config = resolve(
        {
            "seed": 1,
            "output": str(root),
            "corpora": [{"kind": "librispeech", "path": "x", "limit": 5}],
            "backbone": {"engine": "scripted"},
        },
        where="run.yaml",
    )
    open_dataset(config)
    for table in ("candidates", "index"):
        (root / table).mkdir()
        (root / table / "part-00000.parquet").touch()
    return config


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "extensions: []",
        "extensions: [1]",
        "extensions: [{}]",
        "extensions: [{tasks: {}, corpora: [1]}]",
        "extensions: [{tasks: 2020-13-45, corpora: []}]",
        "extensions: [{tasks: {}, corpora: [], a: {1: b, c: d}}, {tasks: {}, corpora: []}]",
        "extensions: [&a {tasks: {}, corpora: []}, *a]",
        "a: !!bool x",
        "[" * 5_000,
        "a: \x00",
        b"\xff",
    ],
)
def test_what_is_no_run_yaml_is_refused_with_the_remedy(begun, text):
    path = begun.output / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(OutputError) as caught:
        open_dataset(begun)
    assert str(caught.value).startswith(str(path))
    assert "put back the" in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda fields: fields.update(colour="red"), "colour: 'red' -> None"),
        (lambda fields: fields.update({1: 2}), "1: 2 -> None"),
        (lambda fields: fields.pop("seed"), "seed: None -> 1"),
        (lambda fields: fields["corpora"][0].update(limit="few"), "corpora.0.limit: 'few' -> 5"),
        (lambda fields: fields["corpora"][0].pop("limit"), "corpora.0.limit: None -> 5"),
        (lambda fields: fields["tasks"].clear(), "tasks.continuation: None -> "),
    ],
)
@pytest.mark.parametrize("extend", [False, True])
def test_what_was_edited_in_it_is_named(begun, edit, found, extend):
    path = begun.output / "run.yaml"
    document = yaml.safe_load(path.read_text())
    edit(document["extensions"][0])
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(OutputError, match=r"another configuration|must be finished") as caught:
        open_dataset(begun, extend=extend)
    assert found in str(caught.value) or "must be finished" in str(caught.value)
