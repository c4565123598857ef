"""A name that no file system takes, wherever a path may stand: a sentence, and no traceback."""

import pytest
from steps_datasets import build

from sllm_data.config import resolve
from sllm_data.errors import SllmDataError

LONG = "9" * 300
ENTRY = {"path": LONG, "version": "1"}


@pytest.mark.parametrize(
    "fields",
    [
        {"output": LONG},
        {"corpora": [ENTRY | {"kind": "librispeech"}]},
        {"corpora": [ENTRY | {"kind": "common_voice"}]},
        {"corpora": [ENTRY | {"kind": "manifest", "language": "en"}]},
        {"corpora": [{"kind": "huggingface", "path": f"{LONG}/y"}]},
        {"alignment": {"backend": "files", "files": LONG}},
        {"alignment": {"backend": "ctc", "ctc_model": LONG}},
        {"reuse": [LONG]},
        {"recipe": f"{LONG}.yaml"},
        {"backbone": {"engine": "scripted", "tokenizer": LONG}},
        {"backbone": {"engine": "vllm", "model": LONG}},
        {"prompts": {"pools": [LONG]}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_name_that_is_too_long_is_one_sentence(world_document, tmp_path, fields, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SllmDataError):
        build(resolve(world_document(tmp_path / "d") | fields, where="test"))
