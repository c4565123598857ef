"""Signals that are noted while something is done, and do their work behind it."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from sllm_data.trainer.stopping import stop_noted


class _Ended(BaseException):
    """Raised by SIGTERM, as SystemExit by the handler of the command line."""


@pytest.fixture
def heard():
    """How often SIGTERM did its work."""
    numbers = []

    def end(number, _frame):
        numbers.append(number)
        raise _Ended

    before = signal.signal(signal.SIGTERM, end)
    yield numbers
    assert signal.getsignal(signal.SIGTERM) is end
    signal.signal(signal.SIGTERM, before)


def test_nothing_is_asked_where_no_signal_came(heard):
    with stop_noted() as stop:
        assert stop.asked == 0
    assert heard == []


def test_sigterm_is_noted_however_often_it_comes_and_does_its_work_when_it_is_obeyed(heard):
    def work():
        with stop_noted() as stop:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert (stop.asked, heard) == (signal.SIGTERM, [])
            stop.obey(stop.asked)

    with pytest.raises(_Ended):
        work()
    assert heard == [signal.SIGTERM]


def test_a_signal_that_is_not_obeyed_does_its_work_at_the_end(heard):
    done = []

    def work():
        with stop_noted():
            signal.raise_signal(signal.SIGTERM)
            done.append("what was begun")

    with pytest.raises(_Ended):
        work()
    assert done
    assert heard == [signal.SIGTERM]


def test_a_second_ctrl_c_ends_at_once():
    noted = []

    def work():
        with stop_noted() as stop:
            signal.raise_signal(signal.SIGINT)
            noted.append(stop.asked)
            signal.raise_signal(signal.SIGINT)
            noted.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert noted == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_what_is_done_is_told_and_not_the_signal(heard):
    def work():
        with stop_noted():
            signal.raise_signal(signal.SIGTERM)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert heard == []


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stop_noted() as stop:
            signal.raise_signal(signal.SIGTERM)
            assert stop.asked == 0
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_hears_no_signal(heard):
    def asked():
        with stop_noted() as stop:
            return stop.asked

    with ThreadPoolExecutor() as threads:
        assert threads.submit(asked).result() == 0
    assert heard == []
