"""Attacks that have no other home, and SECURITY.md: every refusal that it states has its test."""

import ast
import asyncio
import gzip
import hashlib
import json
import pickle
import re
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Wav2Vec2Config

from sllm_data.alignment.ctc import CtcAligner
from sllm_data.chat.loading import load_tokenizer
from sllm_data.errors import EngineError, ModelError, TrainingError
from sllm_data.generation.config import OpenaiConfig
from sllm_data.generation.openai_client import Client, Unanswered
from sllm_data.reporting.text import markdown_table
from sllm_data.trainer.checkpoint import newest_checkpoint
from sllm_data.trainer.distributed import Ranks
from sllm_data.trainer.model.pretrained import read_config, read_model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!what comes)(.+?) (?<!\\)\| (.+?) \| (.+) \|$", PAGE, re.MULTILINE)
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


class Payload:
    """Unpickled, it writes a file: what an attacker would do worse."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.mark),)


@pytest.mark.parametrize(("what", "refused", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_every_row_says_what_is_refused_and_names_a_test(what, refused, tests):
    assert re.fullmatch(r"(`tests/[\w/]+\.py::\w+`(, |$))+", tests), tests


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_is_named_exists(path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_has_rows_and_every_source_of_danger():
    assert len(ROWS) > 25
    for source in ("Pools", "Corpora", "Transcripts", "Datasets", "Model", "Servers", "Storage"):
        assert re.search(rf"^### {source}", PAGE, re.MULTILINE), source


def test_the_payload_of_these_tests_would_work(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))  # noqa: S301 - our own
    assert (tmp_path / "mark").exists()


def test_weights_that_are_a_pickle_are_refused_unread(tiny_backbone, tmp_path):
    folder = shutil.copytree(tiny_backbone, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Payload(tmp_path / "mark")}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="must hold a model"):
        read_model(AutoModelForCausalLM, str(folder), None, dtype=torch.float32, what="a model")
    assert not (tmp_path / "mark").exists()


def test_an_aligner_whose_weights_are_a_pickle_is_refused_unread(tmp_path):
    Wav2Vec2Config().save_pretrained(tmp_path / "model")
    torch.save({"weight": Payload(tmp_path / "mark")}, tmp_path / "model/pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no file named model\.safetensors"):
        CtcAligner(str(tmp_path / "model"))
    assert not (tmp_path / "mark").exists()


@pytest.fixture
def with_code(tiny_backbone, tmp_path) -> Path:
    """A model folder of an unknown kind, with Python that would make it known."""
    folder = shutil.copytree(tiny_backbone, tmp_path / "model")
    (folder / "code.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\nclass Mine: ...\n")
    for name in ("config.json", "tokenizer_config.json"):
        document = json.loads((folder / name).read_text())
        document |= {"model_type": "nobody-knows", "tokenizer_class": "Mine"}
        document["auto_map"] = {
            "AutoConfig": "code.Mine",
            "AutoModelForCausalLM": "code.Mine",
            "AutoTokenizer": ["code.Mine", "code.Mine"],
        }
        (folder / name).write_text(json.dumps(document))
    return folder


def test_code_of_a_model_folder_is_not_run(with_code, tmp_path):
    with pytest.raises(ModelError, match="must hold a model"):
        read_config(str(with_code), None, what="a model")
    assert not (tmp_path / "mark").exists()


def test_code_of_a_tokenizer_is_not_run(with_code, tmp_path):
    try:
        load_tokenizer(with_code, model="mine")
    except ModelError as error:
        assert "mine: its tokenizer" in str(error)  # noqa: PT017 - it may also load without code
    assert not (tmp_path / "mark").exists()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    folder = tmp_path / "step-00000007"
    folder.mkdir()
    torch.save({"model": Payload(tmp_path / "mark")}, folder / "rank-00000.pt")
    digest = hashlib.sha256((folder / "rank-00000.pt").read_bytes()).hexdigest()
    facts = {"step": 7, "world_size": 1, "files": {"rank-00000.pt": digest}}
    (folder / "checkpoint.json").write_text(json.dumps(facts))
    with pytest.raises(TrainingError, match="would run code"):
        newest_checkpoint(tmp_path, Ranks(), say=print)
    assert not (tmp_path / "mark").exists()


class Server(ThreadingHTTPServer):
    """Answers every request by one function, and keeps what was asked."""

    def __init__(self, answer: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.asked: list[dict[str, str]] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        self.server.answer(self)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def start(answer: Any) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(url: str) -> Any:
    async def once() -> Any:
        client = Client(OpenaiConfig(engine="openai", base_url=url, model="m"))
        try:
            return await client.get("models")
        finally:
            await client.close()

    return asyncio.run(once())


def test_a_redirect_takes_the_key_nowhere(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    elsewhere = serve(lambda handler: handler.send_error(404))

    def redirect(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"{elsewhere.url}/models")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    first = serve(redirect)
    with pytest.raises(EngineError, match="must answer itself"):
        ask(first.url)
    assert first.asked[0]["Authorization"] == "Bearer sk-of-the-user"
    assert elsewhere.asked == []


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(10 * 2**30))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 2**20)
    except OSError:  # the client has had enough
        handler.close_connection = True


def inflated(handler: Handler) -> None:
    content = gzip.compress(b" " * (256 * 2**20), compresslevel=1)
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    try:
        handler.wfile.write(content)
    except OSError:
        handler.close_connection = True


@pytest.mark.parametrize("answer", [endless, inflated])
def test_an_answer_without_end_is_left(serve, answer):
    with pytest.raises(Unanswered, match="more than 32 MiB"):
        ask(serve(answer).url)


def test_the_name_of_a_language_moves_no_terminal():
    table = markdown_table(("language", "clips"), [("de\x1b]0;title\x07\n| x", "1")])
    assert "\x1b" not in table
    assert len(table.splitlines()) == 3
