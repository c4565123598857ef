"""Finding a model: folders, the hub's cache, and one sentence for whatever is missing."""

import json
import shutil
import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from sllm_data.chat import ChatRenderer
from sllm_data.chat.loading import load_tokenizer, locate
from sllm_data.errors import ModelError
from sllm_data.records import Message

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_LOADS = """
import sys
from pathlib import Path
from sllm_data.chat.loading import load_tokenizer
load_tokenizer(Path(sys.argv[1]), model="tiny")
print("torch" in sys.modules)
"""
_HELLO = [Message(role="user", content="hello")]


@pytest.fixture
def folder(load_family, tmp_path):
    return shutil.copytree(load_family("qwen").folder, tmp_path / "model")


@pytest.fixture
def hub_cache(load_family, tmp_path, monkeypatch):
    """A hub cache that holds one model, as a download leaves it."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    repository = cache / "models--someone--talker"
    shutil.copytree(load_family("qwen").folder, repository / "snapshots" / _COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(_COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def test_a_hub_model_in_the_cache_loads_offline_with_its_commit(hub_cache, load_family):
    renderer = ChatRenderer.load("someone/talker")
    assert renderer.revision == _COMMIT
    assert renderer.encode([_HELLO]) == load_family("qwen").renderer.encode([_HELLO])


def test_a_hub_model_that_is_not_cached_is_an_error_offline(hub_cache):
    with pytest.raises(ModelError, match=r"someone/else: .*unset HF_HUB_OFFLINE"):
        ChatRenderer.load("someone/else")


def test_an_uncached_revision_is_named_in_the_error(hub_cache):
    with pytest.raises(ModelError, match="at revision v2 while the hub is out of reach"):
        ChatRenderer.load("someone/talker", revision="v2")


def test_an_impossible_hub_id_is_an_error(hub_cache):
    with pytest.raises(ModelError, match="check the name"):
        ChatRenderer.load("no--such..model")


@pytest.mark.parametrize("model", ["/no/such/folder", "./nowhere", "~/nowhere-at-all", "a/b/c"])
def test_a_missing_folder_is_an_error(model):
    with pytest.raises(ModelError, match="there is no such model folder"):
        ChatRenderer.load(model)


def test_a_revision_of_a_folder_is_an_error(folder):
    with pytest.raises(ModelError, match="leave revision out"):
        ChatRenderer.load(str(folder), revision="main")


def test_a_folder_without_tokenizer_is_an_error(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer \(no tokenizer.json\)"):
        ChatRenderer.load(str(folder))


def test_a_broken_tokenizer_file_is_an_error(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelError, match="its tokenizer can't be loaded"):
        ChatRenderer.load(str(folder))


def test_a_tokenizer_without_rust_backend_is_an_error(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    (tmp_path / "config.json").write_text('{"model_type": "canine"}')
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(ModelError, match="has no Rust backend"):
        ChatRenderer.load(str(tmp_path))


def test_a_local_revision_follows_the_content_of_the_folder(folder):
    (folder / "model.safetensors").write_bytes(b"a" * 200_000)
    _, first = locate(str(folder), revision=None)
    (folder / "model.safetensors").write_bytes(b"a" * 199_999 + b"b")
    _, other_weights = locate(str(folder), revision=None)
    (folder / "config.json").unlink()
    _, other_config = locate(str(folder), revision=None)
    assert len({first, other_weights, other_config}) == 3
    assert first.startswith("local-")
    assert len(first) == len("local-") + 16


def test_a_local_revision_ignores_where_the_folder_lies(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert locate(str(folder), revision=None)[1] == locate(str(moved), revision=None)[1]


def test_a_tokenizer_of_the_general_class_is_what_auto_tokenizer_gives(tiny_backbone, tmp_path):
    """Loaded without torch, which takes ten seconds; one of a class of its own is left to it."""
    general = {"tokenizer_class": "TokenizersBackend"}
    assert (
        general.items()
        <= json.loads((tiny_backbone / "tokenizer_config.json").read_text()).items()
    )
    found = load_tokenizer(tiny_backbone, model="tiny")
    expected = AutoTokenizer.from_pretrained(str(tiny_backbone))
    assert type(found) is type(expected)
    assert found.backend_tokenizer.to_str() == expected.backend_tokenizer.to_str()
    assert found.special_tokens_map == expected.special_tokens_map
    assert found.chat_template == expected.chat_template

    program = [sys.executable, "-c", _LOADS, str(tiny_backbone)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.stdout == "False\n", ended.stderr
