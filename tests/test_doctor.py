import http.server
import importlib.metadata
import os
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from sllm_data import doctor
from sllm_data.doctor import Check


def a_program(folder: Path, name: str, text: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def a_package(folder: Path, name: str, code: str, version: str = "1.0") -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def first_on_path(tmp_path, monkeypatch) -> Path:
    """A folder whose packages stand before the installed ones, here and in children."""
    folder = tmp_path / "first"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_every_part_is_examined_and_each_problem_has_one_remedy(tmp_path, first_on_path):
    a_package(first_on_path, "vllm", "raise ImportError('no kernel for this machine')", "0.32.0")
    checks = doctor.examine(output=tmp_path)
    names = [check.name for check in checks]
    assert names == [
        *("Python", "platform", "packages", "torch", "torchaudio", "FFmpeg", "espeak-ng"),
        *("bfloat16", "model hub", "disk", "shared memory", "vLLM"),
    ]
    assert checks[-1].status == "fail"
    assert "ImportError: no kernel for this machine" in checks[-1].found
    for check in checks:
        assert check.status in ("ok", "warn", "fail")
        assert "\n" not in check.found + check.remedy
        assert bool(check.remedy) == (check.status != "ok"), check


@pytest.mark.engine
def test_the_real_engine_starts_and_answers():
    check = doctor.check_vllm()
    assert check.status == "ok", check
    assert "vllm" in check.found


def test_the_engine_is_left_out_where_nothing_is_to_be_started(tmp_path, first_on_path):
    a_package(first_on_path, "torch", "raise ImportError('quick')")
    checks = doctor.examine(output=tmp_path, start_vllm=False)
    assert "vLLM" not in [check.name for check in checks]


def test_an_engine_that_is_not_installed_is_a_problem():
    check = doctor.check_vllm(["no-such-engine"])
    assert (check.status, check.found) == ("fail", "none of no-such-engine is installed")


def test_a_package_out_of_its_range_and_a_missing_one_are_named(first_on_path):
    about = first_on_path / "patient-1.0.dist-info"
    about.mkdir()
    needs = ["numpy>=1", "fastapi<0.1", "no-such-thing>=2", "ray>=999; extra == 'cpu'"]
    lines = ["Metadata-Version: 2.1", "Name: patient", "Version: 1.0"]
    lines += [f"Requires-Dist: {need}" for need in needs]
    (about / "METADATA").write_text("\n".join(lines) + "\n")
    check = doctor.check_packages("patient")
    fastapi = importlib.metadata.version("fastapi")
    assert check.status == "fail"
    assert check.found == f"fastapi is {fastapi}, wants <0.1; no-such-thing is missing"
    assert check.remedy == "run `make setup` again"


def test_an_uninstalled_package_itself_is_a_problem():
    check = doctor.check_packages("no-such-distribution")
    assert check.status == "fail"
    assert "no-such-distribution is not installed" in check.found


def test_a_cpu_torch_beside_a_cuda_torchaudio_is_said_in_one_sentence(first_on_path):
    a_package(first_on_path, "torch", "zeros = lambda n: None", "2.13.0+cpu")
    cause = "OSError('libtorch_cuda.so: cannot open shared object file')"
    a_package(first_on_path, "torchaudio", f"raise {cause}", "2.11.0")
    check = doctor.check_torchaudio()
    assert check.status == "fail"
    assert check.found.startswith("torch 2.13.0+cpu and torchaudio 2.11.0 are of different builds")
    assert "libtorch_cuda.so" in check.found
    assert "the build of torch that torchaudio is linked to" in check.remedy


def test_a_torchaudio_that_fails_for_another_reason_is_not_called_a_mismatch(first_on_path):
    a_package(first_on_path, "torch", "zeros = lambda n: None", "2.13.0")
    a_package(first_on_path, "torchaudio", "raise ImportError('cut short')", "2.11.0")
    check = doctor.check_torchaudio()
    assert (check.status, check.found) == ("fail", "ImportError: cut short")


def test_a_torch_that_ends_its_process_is_survived(first_on_path):
    a_package(first_on_path, "torch", "import os; os.abort()")
    check = doctor.check_torch()
    assert check.status == "fail"
    assert check.found == "ended by signal 6"


def test_gpus_that_torch_can_not_use_are_a_warning(tmp_path, first_on_path, monkeypatch):
    no_cuda = "class cuda: is_available = device_count = staticmethod(lambda: 0)"
    a_package(first_on_path, "torch", f"__version__ = '2.13.0'\n{no_cuda}")
    a_program(tmp_path, "nvidia-smi", "echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    check = doctor.check_torch()
    assert check.status == "warn"
    assert check.found == "2.13.0, GPU: none, though the driver sees 1"
    assert "ACCEL=gpu" in check.remedy


def test_no_gpu_is_no_problem(tmp_path, first_on_path, monkeypatch):
    no_cuda = "class cuda: is_available = device_count = staticmethod(lambda: 0)"
    a_package(first_on_path, "torch", f"__version__ = '2.13.0'\n{no_cuda}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_torch() == Check(name="torch", status="ok", found="2.13.0, GPU: none")


def test_a_missing_ffmpeg_is_a_warning_with_its_package(tmp_path, first_on_path, monkeypatch):
    a_package(first_on_path, "torchcodec", "raise RuntimeError('Could not load libtorchcodec.')")
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.check_torchcodec()
    assert check.status == "warn"
    assert "RuntimeError: Could not load libtorchcodec." in check.found
    assert check.remedy == "apt-get install ffmpeg (4 to 8)"


def test_a_hub_out_of_reach_is_a_warning(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound but not listening: refused at once
        check = doctor.check_hub(f"http://127.0.0.1:{reserved.getsockname()[1]}")
    assert check.status == "warn"
    assert "HF_HUB_OFFLINE=1" in check.remedy


def test_a_hub_that_answers_is_reachable(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        assert doctor.check_hub().status == "ok"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("value", ["1", "true", "ON"])
def test_offline_mode_asks_nobody(monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    check = doctor.check_hub("http://127.0.0.1:1")
    assert check.status == "ok"
    assert "offline mode" in check.found


def test_the_disk_is_that_of_the_nearest_existing_folder(tmp_path):
    check = doctor.check_disk(tmp_path / "not" / "yet")
    assert check.found.endswith(f"free at {tmp_path}")
    assert not (tmp_path / "not").exists()


def test_an_output_that_is_a_file_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    check = doctor.check_disk(tmp_path / "file")
    assert (check.status, check.remedy) == ("fail", "choose another output")


def test_an_absent_shared_memory_is_a_warning(tmp_path):
    check = doctor.check_shared_memory(tmp_path / "nowhere")
    assert check.status == "warn"
    assert "--shm-size" in check.remedy


def test_a_disk_that_is_nearly_full_is_a_warning(tmp_path):
    check = doctor.check_disk(tmp_path, min_free_gb=1e9)
    assert check.status == "warn"
    assert check.remedy.startswith("make room")


def test_a_broken_espeak_is_a_warning(tmp_path):
    check = doctor.check_espeak(tmp_path)
    assert check.status == "warn"
    assert "phontab" in check.found


def test_a_trial_that_hangs_is_ended_with_its_children(tmp_path):
    child = tmp_path / "child"
    code = (
        "import pathlib, subprocess, sys, time;"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"pathlib.Path({str(child)!r}).write_text(str(c.pid)); time.sleep(600)"
    )
    start_s = time.monotonic()
    trial = doctor._try_python(code, timeout_s=10)
    assert time.monotonic() - start_s < 300
    assert trial.error == "no answer within 10 s"
    status = subprocess.run(
        ["ps", "-o", "stat=", "-p", child.read_text()], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert status[:1] in ("", "Z")


def test_the_reason_is_the_last_exception_of_a_traceback():
    errors = "Traceback:\n  x\nValueError: first\n\nRuntimeError: second\n[W123] a warning\n"
    assert doctor._reason(errors, 1) == "RuntimeError: second"
    assert doctor._reason("nothing to see", 3) == "ended with status 3"
    assert doctor._reason("pkg.MyError\n", 1) == "pkg.MyError"


@pytest.mark.parametrize("running", [(3, 10, 9), (3, 14, 0), (4, 0, 0)])
def test_a_python_out_of_range_is_a_problem(running):
    check = doctor.check_python(running)
    assert check.status == "fail"
    assert "make setup PYTHON=" in check.remedy


def test_another_machine_is_a_problem():
    assert doctor.check_platform("Darwin arm64").status == "fail"


@pytest.mark.parametrize(
    ("flags", "status", "found"),
    [
        ("fpu avx2 avx512f", "ok", "the processor has avx512f"),
        ("fpu avx2", "warn", "the processor has neither AVX-512 nor AMX"),
        (None, "warn", "the processor has neither AVX-512 nor AMX"),
    ],
)
def test_a_processor_that_computes_bfloat16_slowly_is_told(tmp_path, flags, status, found):
    processors, gpu = tmp_path / "cpuinfo", tmp_path / "gpu"
    if flags is not None:
        processors.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    check = doctor.check_bfloat16(processors, gpu)
    assert (check.status, check.found) == (status, found)
    assert ("backbone.dtype: float32" in check.remedy) == (status == "warn")

    gpu.touch()
    assert doctor.check_bfloat16(processors, gpu).status == "ok"


def test_a_quick_look_starts_nothing_and_says_what_a_container_may_lack(tmp_path):
    checks = doctor.examine(output=tmp_path, quick=True)
    assert [check.name for check in checks] == [
        "Python",
        "platform",
        "packages",
        "disk",
        "shared memory",
    ]
