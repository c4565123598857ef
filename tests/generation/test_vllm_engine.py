"""The vLLM engine for real, on the CPU: one for the session, others where one must die."""

import gc
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from sllm_data.errors import EngineError, ModelError
from sllm_data.generation import VllmConfig, start_engine
from sllm_data.generation.vllm_engine import check_gpus
from sllm_data.generation.vllm_start import check_version, environment, installed, settle
from sllm_data.records import Reason

pytestmark = pytest.mark.filterwarnings("default")  # vLLM's imports warn


@pytest.fixture(autouse=True)
def _collected():
    """vLLM leaves sockets to the garbage collector; what it warns of then belongs here."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def vllm_engine(vllm_config):
    """One engine for all tests that don't end it."""
    with closing(start_engine(vllm_config)) as engine:
        yield engine


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_greedy_answers_are_the_same_when_asked_again(vllm_engine, make_request, ask):
    request = make_request(ids=(5, 6, 7), max_tokens=12)
    first, second = (ask(vllm_engine, [request])["r:main"] for _ in range(2))
    assert first == second
    assert first.num_prompt_tokens == 3
    assert first.num_response_tokens == len(first.token_ids)
    assert first.mean_logprob < 0
    assert first.num_cached_tokens == 0


@pytest.mark.engine
def test_a_seed_gives_its_own_answer_whatever_shares_the_batch(vllm_engine, make_request, ask):
    hot = {"temperature": 1.0, "max_tokens": 8}
    alone = ask(vllm_engine, [make_request("x", seed=7, **hot)])["x:main"]
    crowd = [make_request(f"r{k}", seed=k, ids=(9, 8, k + 4), **hot) for k in range(60)]
    together = ask(vllm_engine, [*crowd, make_request("x", seed=7, **hot)])
    assert together["x:main"].text == alone.text
    other = ask(vllm_engine, [make_request("x", seed=8, **hot)])["x:main"]
    assert other.token_ids != alone.token_ids


@pytest.mark.engine
def test_the_likeliest_tokens_are_those_of_the_model_whatever_was_sampled(
    vllm_engine, make_request, ask, tiny_backbone
):
    greedy = ask(vllm_engine, [make_request(max_tokens=8)])["r:main"]
    assert tuple(place[0] for place in greedy.top_token_ids) == greedy.token_ids
    hot = ask(vllm_engine, [make_request(max_tokens=8, temperature=2.0, seed=3)])["r:main"]
    assert {len(place) for place in (*hot.top_token_ids, *hot.top_logprobs)} == {4}
    # some sampled token is not among the likeliest, and is not put there
    assert any(
        token not in place for token, place in zip(hot.token_ids, hot.top_token_ids, strict=True)
    )
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone, dtype=torch.float32)
    with torch.no_grad():
        logits = model(torch.tensor([[5, 6, 7, *hot.token_ids]])).logits[0, 2:-1]
    expected = logits.log_softmax(-1).topk(4)
    assert hot.top_token_ids == tuple(map(tuple, expected.indices.tolist()))
    assert torch.allclose(torch.tensor(hot.top_logprobs), expected.values, atol=0.05)


@pytest.mark.engine
def test_seeded_prompts_that_fill_several_steps_are_all_answered(vllm_engine, make_request, ask):
    # prefilled in pieces, a seeded prompt makes vLLM's CPU sampler fail: see `settle`
    requests = [
        make_request(f"r{k}", ids=tuple(range(10, 10 + 200)), temperature=0.7, seed=k)
        for k in range(40)
    ]
    assert len(ask(vllm_engine, requests)) == 40


@pytest.mark.engine
def test_an_answer_ends_at_max_tokens_or_before_a_stop_string(vllm_engine, make_request, ask):
    cut = ask(vllm_engine, [make_request(max_tokens=3, temperature=1.0)])["r:main"]
    assert (cut.finish_reason, cut.num_response_tokens) == ("length", 3)
    stop = cut.text.strip()[-1]
    stopped = ask(vllm_engine, [make_request(max_tokens=3, temperature=1.0, stop=(stop,))])
    assert stopped["r:main"].finish_reason == "stop"
    assert stop not in stopped["r:main"].text


@pytest.mark.engine
def test_what_does_not_fit_or_is_refused_is_a_rejection_and_the_rest_goes_on(
    vllm_engine, make_request, ask
):
    requests = {
        "long": make_request("long", ids=(5,) * 256),
        "empty": make_request("empty", ids=()),
        "unknown": make_request("unknown", ids=(10**6,)),
        "good": make_request("good", ids=(5,) * 255),
    }
    answers = ask(vllm_engine, list(requests.values()))
    assert answers["long:main"].reason is Reason.PROMPT_TOO_LONG
    assert answers["empty:main"].reason is Reason.REFUSED_BY_ENGINE
    assert answers["unknown:main"].reason is Reason.REFUSED_BY_ENGINE
    assert answers["good:main"].finish_reason == "length"


@pytest.mark.engine
def test_it_says_what_it_is_and_returns_nothing_where_nothing_is_asked(vllm_engine):
    assert (vllm_engine.name, vllm_engine.prompt_mode, vllm_engine.determinism) == (
        "vllm",
        "ids",
        "seeded",
    )
    assert vllm_engine.version.startswith("0.")
    assert vllm_engine.max_in_flight > 32
    assert vllm_engine.receive() == []


@pytest.mark.engine
def test_an_engine_that_answers_nothing_for_too_long_is_given_up(
    vllm_engine, vllm_config, make_request
):
    core = vllm_engine._processes._cores[0]
    patient, vllm_engine._config = (
        vllm_engine._config,
        vllm_config.model_copy(update={"stall_timeout_s": 0.5}),
    )
    core.suspend()
    vllm_engine.submit(make_request())
    with pytest.raises(EngineError, match=r"vLLM died: no answer for 0\.5 s"):
        vllm_engine.receive()
    core.resume()
    vllm_engine._config, vllm_engine._failure = patient, None
    while not vllm_engine.receive():
        pass


@pytest.mark.engine
def test_a_killed_worker_ends_the_engine_for_good(vllm_engine, make_request, ask):
    # the last test of this engine
    worker = vllm_engine._processes._cores[0].children()[-1]
    worker.kill()
    with pytest.raises(EngineError, match=r"vLLM died: .*; run the same command again") as died:
        ask(vllm_engine, [make_request(f"r{k}", max_tokens=200) for k in range(10_000)])
    assert "most likely for memory" in str(died.value)
    with pytest.raises(EngineError, match="vLLM died"):
        vllm_engine.submit(make_request())
    with pytest.raises(EngineError, match="vLLM died"):
        vllm_engine.receive()
    vllm_engine.close()
    vllm_engine.close()


# An engine of its own in a process of its own; it says who its children are, then works.
VICTIM = """
import sys
from contextlib import closing
from pathlib import Path
import psutil
from sllm_data.errors import EngineError
from sllm_data.generation import VllmConfig, start_engine
from tests.generation.conftest import ask_all, build_request

def main():
    config = VllmConfig.model_validate_json(sys.argv[1])
    requests = [build_request(f"r{k}", max_tokens=200) for k in range(10_000)]
    with closing(start_engine(config)) as engine:
        family = psutil.Process().children(recursive=True)
        print(*(child.pid for child in family if "VLLM" in " ".join(child.cmdline())), flush=True)
        try:
            ask_all(engine, requests)
        except EngineError as error:
            print("EngineError:", error, flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def victim(tmp_path, vllm_config):
    """A process with an engine at work, and vLLM's processes below it."""
    script = tmp_path / "victim.py"
    script.write_text(VICTIM)
    # stdout and stderr together: neither may show what vLLM writes
    process = subprocess.Popen(
        [sys.executable, str(script), vllm_config.model_dump_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        start_new_session=True,
    )
    with process:
        lines = iter(process.stdout.readline, "")
        family = next(line for line in lines if line[0].isdigit())
        yield process, [psutil.Process(int(pid)) for pid in family.split()]
        process.kill()


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_killed_core_ends_the_run_in_one_sentence_and_leaves_no_process(victim):
    process, family = victim
    family[0].kill()
    output = process.stdout.read()  # without a stall's 900 s: the timeout of this test is shorter
    assert process.wait() == 0
    assert "vLLM died" in output
    assert "run the same command again" in output
    assert "Traceback" not in output
    psutil.wait_procs(family, timeout=120)
    assert not any(child.is_running() and child.status() != "zombie" for child in family)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_ctrl_c_ends_all_processes_without_a_word_from_vllm(victim):
    process, family = victim
    os.killpg(process.pid, signal.SIGINT)
    output = process.stdout.read()
    assert process.wait() != 0
    assert output.count("Traceback") == 1  # our own KeyboardInterrupt
    assert "vllm/v1" not in output
    psutil.wait_procs(family, timeout=120)
    assert not any(child.is_running() and child.status() != "zombie" for child in family)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_weights_that_are_none_stop_the_start_with_the_cause(vllm_config, tiny_backbone, tmp_path):
    for file in tiny_backbone.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"this is no safetensors file")
    before = {child.pid for child in psutil.Process().children()}
    config = vllm_config.model_copy(update={"model": str(tmp_path)})
    with pytest.raises(EngineError, match=r"vLLM can't start: \w*Error: .*[Hh]eader"):
        start_engine(config)
    left = [child for child in psutil.Process().children() if child.pid not in before]
    assert not [child for child in left if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_configuration_that_vllm_refuses_stops_the_start_with_its_words(vllm_config):
    config = vllm_config.model_copy(update={"quantization": "no-such-method"})
    with pytest.raises(EngineError, match=r"vLLM can't start: .*no-such-method"):
        start_engine(config, verbose=True)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (None, "there is no such model folder"),
        ((), r"must hold config\.json"),
        (("config.json",), r"must hold weights, \*\.safetensors"),
    ],
)
def test_an_incomplete_model_folder_stops_the_start_at_once(tmp_path, files, says):
    folder = tmp_path / "model"
    for name in files or ():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    if files == ():
        folder.mkdir()
    with pytest.raises(ModelError, match=says):
        start_engine(VllmConfig(engine="vllm", model=str(folder)))


def config(**changes) -> VllmConfig:
    return VllmConfig(engine="vllm", model="a/b", **changes)


def test_what_is_left_to_the_machine_is_settled_in_numbers():
    gpu = settle(config(), on_cpu=False, max_model_len=32_768)
    assert (gpu.max_num_seqs, gpu.max_num_batched_tokens, gpu.prefix_caching) == (
        1024,
        16_384,
        True,
    )
    cpu = settle(config(), on_cpu=True, max_model_len=32_768)
    assert (cpu.max_num_seqs, cpu.max_num_batched_tokens) == (256, 32_768)


def test_what_is_configured_is_kept_but_for_what_vllm_would_refuse():
    own = config(max_num_seqs=64, max_num_batched_tokens=32, prefix_caching=False)
    limits = settle(own, on_cpu=False, max_model_len=10)
    assert (limits.max_num_seqs, limits.max_num_batched_tokens) == (64, 64)
    assert not limits.prefix_caching


def test_strict_asks_for_one_request_at_a_time_on_a_cpu_and_never_caches_prefixes():
    strict = config(determinism="strict")
    assert settle(strict, on_cpu=True, max_model_len=10).max_num_seqs == 1
    gpu = settle(strict, on_cpu=False, max_model_len=10)
    assert (gpu.max_num_seqs, gpu.prefix_caching) == (1024, False)


def test_the_environment_is_set_for_the_start_only_and_the_users_own_values_win(monkeypatch):
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    monkeypatch.delenv("VLLM_BATCH_INVARIANT", raising=False)
    with environment(config(kv_cache_gib=3), on_cpu=True, verbose=False):
        assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "3"
        assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert "VLLM_CPU_KVCACHE_SPACE" not in os.environ
    with environment(config(determinism="strict"), on_cpu=False, verbose=False):
        assert os.environ["VLLM_BATCH_INVARIANT"] == "1"


def test_vllms_own_processes_are_not_traced_where_this_one_is(monkeypatch):
    monkeypatch.setenv("COVERAGE_PROCESS_START", "somewhere")
    with environment(config(), on_cpu=True, verbose=False):
        assert "COVERAGE_PROCESS_START" not in os.environ
    assert os.environ["COVERAGE_PROCESS_START"] == "somewhere"


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (None, r"vLLM is not installed"),
        (("0.25.1", True), r"must be 0\.26 to 0\.33, found 0\.25\.1"),
        (("0.34.0", False), r"found 0\.34\.0"),
        (("1.0", False), r"found 1\.0"),
    ],
)
def test_a_vllm_that_is_missing_or_unknown_is_refused(found, says):
    with pytest.raises(EngineError, match=says):
        check_version(found)


def test_too_few_gpus_are_counted():
    with pytest.raises(EngineError, match=r"needs 99 GPU\(s\)"):
        check_gpus(config(tensor_parallel_size=99))


def test_the_installed_vllm_is_found_with_its_kind():
    assert installed(["no-such-engine"]) is None
    version, on_cpu = installed()
    assert version.startswith("0.")
    assert isinstance(on_cpu, bool)
