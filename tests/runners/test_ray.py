"""Parts on a Ray cluster: the same results, one sentence for each failure, none lost.

All share one cluster of this machine, but for those that take a node away or can't find one.
"""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from sllm_data.errors import ConfigError, CorpusError, OutputError
from sllm_data.runners import (
    RunnerConfig,
    cluster_kept,
    fence_of,
    map_parts,
    pass_fence,
    put_fence,
)
from sllm_data.runners.place import Place
from sllm_data.runners.ray_crew import Crew, Work
from tests.ports import free_port
from tests.runners import ray_jobs as jobs

RAY = RunnerConfig(kind="ray", workers=2)
_GLANCE_S = 0.02


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One cluster for all: the first test that needs it starts it."""
    with cluster_kept():
        yield


def test_every_job_is_done_once_in_other_processes():
    assert sorted(map_parts(jobs.square, range(20), RAY)) == [i * i for i in range(20)]
    folders, pids = zip(*map_parts(jobs.where, range(4), RAY), strict=True)
    assert set(folders) == {str(Path.cwd())}
    assert os.getpid() not in pids


def test_no_jobs_need_no_cluster():
    nowhere = RunnerConfig(kind="ray", address="127.0.0.1:9")
    assert list(map_parts(jobs.square, (), nowhere)) == []


def test_the_exception_of_a_job_is_raised_as_it_is():
    with pytest.raises(CorpusError, match=r"^row 3 can't be read$"):
        list(map_parts(jobs.fail_at_3, range(8), RAY))


def test_a_bug_of_ours_says_where_it_happened():
    with pytest.raises(ZeroDivisionError) as raised:
        list(map_parts(jobs.divide, [0], RAY))
    assert "ray_jobs.py" in raised.value.__notes__[0]


def test_a_part_whose_worker_is_killed_is_done_by_another(tmp_path):
    assert list(map_parts(jobs.be_killed_once, [str(tmp_path)], RAY)) == ["done"]


def test_a_part_that_kills_each_worker_ends_the_run_with_a_sentence(capfd):
    with pytest.raises(OutputError, match=r"lost its Ray worker 3 times.*finished parts are kept"):
        list(map_parts(jobs.be_killed, [1], RAY))
    assert capfd.readouterr() == ("", "")  # Ray has much to say of each


def test_a_task_that_no_node_is_large_enough_for_is_one_sentence():
    large = RunnerConfig(kind="ray", cpus_per_task=999)
    with pytest.raises(ConfigError, match=r"runner\.cpus_per_task must be at most 2,.* got 999"):
        list(map_parts(jobs.square, [1], large))


def test_a_worker_that_comes_late_does_nothing(tmp_path):
    late = put_fence(tmp_path)
    put_fence(tmp_path)  # the next run
    with pytest.raises(OutputError, match="belongs to another run"), late.held():
        pass


def test_the_next_run_waits_for_a_worker_that_still_works(tmp_path):
    put_fence(tmp_path)
    working, let_go = threading.Event(), threading.Event()

    def work() -> None:
        with fence_of(tmp_path).held():
            working.set()
            let_go.wait()

    worker = threading.Thread(target=work)
    worker.start()
    working.wait()
    with pytest.raises(OutputError, match=r"some still work after 0\.1 s"):
        put_fence(tmp_path, wait_s=0.1)
    let_go.set()
    pass_fence(tmp_path)
    worker.join()


def test_jobs_hold_the_fence_of_their_output(tmp_path):
    fence = put_fence(tmp_path)
    out = map_parts(jobs.begin_and_wait, [str(tmp_path / "note")], RAY, root=tmp_path)
    ended = threading.Thread(target=lambda: list(out))
    ended.start()
    while not (tmp_path / "note").exists():
        time.sleep(_GLANCE_S)
    with pytest.raises(OutputError, match="some still work"):
        put_fence(tmp_path, wait_s=0)
    (tmp_path / "go").touch()
    ended.join()
    assert put_fence(tmp_path, wait_s=30).run != fence.run


def _news(crew: Crew, work: Work, *, workers: int) -> list[object]:
    return list(
        crew.work(work, None, range(workers), fence=None, workers=workers, is_done=lambda _: False)
    )


def test_engines_stay_when_a_pass_has_too_few_parts_for_all():
    crew = Crew(RAY, jobs.Nothing, gpus=0)
    passes = [set(_news(crew, jobs.tell_process, workers=count)) for count in (2, 1, 2)]
    crew.close()
    assert [len(pids) for pids in passes] == [2, 1, 2]
    assert passes[0] == passes[2] > passes[1]


def test_the_last_news_of_an_engine_arrive_though_it_has_ended():
    crew = Crew(RAY, jobs.Nothing, gpus=0)
    passes = [_news(crew, jobs.count_to_ten, workers=1) for _ in range(3)]
    crew.close()
    assert passes == [list(range(10))] * 3


def test_a_folder_that_is_not_there_on_a_node_is_one_sentence():
    with pytest.raises(OutputError, match="/nowhere: must be the same folder on each node"):
        Place(folder="/nowhere", path=(), copies="", fence=None).settle()


@pytest.mark.parametrize("address", ["here", "http://a:1", "ray://a", "a:port", "a: 1"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValidationError, match="address"):
        RunnerConfig(kind="ray", address=address)


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.timeout(240)  # Ray itself tries for five minutes
def test_an_address_where_nothing_listens_is_one_sentence_soon(scheme):
    from sllm_data.runners.cluster import _join

    address = f"{scheme}127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError, match=f"{address} must be .* nothing answers there"):
        _join(None, address)
