"""The lease of a dataset's folder: who writes there, whether it lives, and its end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, replace

import psutil
import pytest

from flows.find_dead_runs import leases_below, main
from flows.lease import (
    NAME,
    dead_of,
    end_processes,
    held,
    read_lease,
    remove_lease,
    started,
    wait_for_others,
)
from sllm_data.errors import OutputError
from sllm_data.files import write_text

pytestmark = pytest.mark.prefect

_HOLDER = """
import subprocess, sys, time
from pathlib import Path
from flows.lease import held
with held(Path(sys.argv[1]), run_id="run-1", run_name="a night", beat_s=0.05):
    beside = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    print(beside.pid, flush=True)
    time.sleep(3600)
"""


def _wait(look):
    until = time.monotonic() + 120
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


@pytest.fixture
def dead(tmp_path):
    """A folder whose run was killed, and the process that it left."""
    folder = tmp_path / "out/d"
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, folder], stdout=subprocess.PIPE)
    beside = psutil.Process(int(holder.stdout.readline()))
    _wait(lambda: [p.pid for p in read_lease(folder).children if p.pid == beside.pid])
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    yield folder, beside
    if beside.is_running():
        beside.kill()


def _is_gone(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_lease_stands_while_it_is_held_and_beats(tmp_path):
    with held(tmp_path / "d", run_id="1", run_name="a", beat_s=0.05) as before:
        first = read_lease(tmp_path / "d")
        _wait(lambda: read_lease(tmp_path / "d").beat > first.beat)
        assert before is None
        assert first.seems_alive()
    assert read_lease(tmp_path / "d") is None


def test_a_second_run_is_refused_while_the_first_lives(tmp_path):
    with (
        held(tmp_path, run_id="1", run_name="first"),
        pytest.raises(OutputError, match="must have one run at a time, flow run first"),
        held(tmp_path, run_id="2", run_name="second"),
    ):
        pass
    assert not (tmp_path / NAME).exists()


def test_a_run_waits_for_the_end_of_another_as_long_as_its_patience_lasts(tmp_path):
    said = []
    with ExitStack() as first:
        first.enter_context(held(tmp_path, run_id="1", run_name="first"))
        wait_for_others(tmp_path, "2", 0.1, lambda _: None)
        assert read_lease(tmp_path) is not None
        wait_for_others(tmp_path, "1", 3600, said.append)  # its own

        def note_and_end(sentence):
            said.append(sentence)
            first.close()

        wait_for_others(tmp_path, "2", 3600, note_and_end)
        assert read_lease(tmp_path) is None
    wait_for_others(tmp_path, "2", 3600, said.append)
    assert len(said) == 1
    assert "flow run first" in said[0]


def test_a_retry_of_the_same_run_holds_its_own_lease(tmp_path):
    with held(tmp_path, run_id="1", run_name="a"), held(tmp_path, run_id="1", run_name="a"):
        pass


def test_a_killed_run_leaves_a_dead_lease_that_names_its_processes(dead, capsys):
    folder, beside = dead

    assert not read_lease(folder).seems_alive()
    assert not _is_gone(beside)
    assert main([str(folder.parent)]) == 1
    assert "a night, process" in (said := capsys.readouterr().out)
    assert said.endswith(": dead\n")


def test_the_next_run_takes_over_and_ends_what_was_left(dead):
    folder, beside = dead
    with held(folder, run_id="2", run_name="next") as before:
        assert before.run_id == "run-1"
        assert _is_gone(beside)


def test_a_process_that_has_the_number_of_a_dead_one_is_not_touched(dead):
    folder, beside = dead
    lease = read_lease(folder)
    later = tuple(replace(each, started=each.started - 60) for each in lease.children)

    assert end_processes(replace(lease, children=later)) == 0
    assert not _is_gone(beside)


def test_starts_are_told_by_a_clock_that_nobody_puts_right():
    """By the one that tells the day, a run that lives seemed dead once it had been put right."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as child:
        since_the_machine_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        assert started(os.getpid()) <= started(child.pid) <= since_the_machine_s
        child.kill()
    assert started(child.pid) is None


def test_of_another_machine_silence_is_what_counts(dead):
    folder, beside = dead
    elsewhere = replace(read_lease(folder), machine="another")

    assert elsewhere.seems_alive(stale_after_s=1e6)
    assert not replace(elsewhere, beat=time.time() - 121).seems_alive()
    assert end_processes(elsewhere) == 0
    assert not _is_gone(beside)


def _of_another_machine(folder, *, beat):
    lease = replace(read_lease(folder), machine="another", beat=beat)
    write_text(folder / NAME, json.dumps(asdict(lease)))  # whole, since somebody may look
    return lease


def test_a_run_whose_clock_is_behind_lives_while_it_beats(dead):
    folder, _ = dead
    behind = _of_another_machine(folder, beat=time.time() - 3600)
    beats = threading.Thread(
        target=_wait, args=[lambda: _of_another_machine(folder, beat=behind.beat + 10)]
    )
    beats.start()
    assert dead_of([(folder, behind)], look_s=3600) == []  # ends with the beat
    beats.join()


def test_a_run_of_another_machine_is_dead_when_it_does_not_beat_while_somebody_looks(dead):
    folder, beside = dead
    silent = _of_another_machine(folder, beat=time.time() - 3600)

    assert dead_of([(folder, silent)], look_s=0.1) == [(folder, silent)]
    with held(folder, run_id="2", run_name="next", look_s=0.1) as before:
        assert before == silent
    assert not _is_gone(beside)


def test_only_its_own_run_takes_a_lease_away(dead):
    folder, _ = dead
    remove_lease(folder, "another")
    assert leases_below(folder) == leases_below(folder.parent) != []
    remove_lease(folder, "run-1")
    assert leases_below(folder) == []


def test_a_damaged_lease_is_one_sentence(tmp_path, capsys):
    (tmp_path / NAME).write_text(json.dumps({"run_id": 3}))

    assert main([str(tmp_path)]) == 2
    assert "must be a lease that a flow wrote" in capsys.readouterr().err
    assert main([]) == 2


def test_a_run_that_is_cancelled_leaves_it_and_one_that_fails_does_not(tmp_path):
    with pytest.raises(OutputError), held(tmp_path, run_id="1", run_name="night"):
        raise OutputError("full")
    assert read_lease(tmp_path) is None

    with pytest.raises(KeyboardInterrupt), held(tmp_path, run_id="1", run_name="night"):
        raise KeyboardInterrupt
    assert read_lease(tmp_path).run_id == "1"
