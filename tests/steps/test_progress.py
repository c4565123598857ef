"""Progress is a bar for people and nothing for logs; it never touches what passes through."""

import io

import pytest
from rich.console import Console

from sllm_data.steps import Progress


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


@pytest.mark.parametrize("console", [None, terminal()], ids=["silent", "terminal"])
def test_items_pass_through_in_order(console):
    assert list(Progress(console).parts("ingest", iter(range(5)), total=5)) == list(range(5))


def test_a_terminal_shows_name_count_and_note():
    console = terminal()
    with Progress(console).bar("generate", 4) as bar:
        bar.advance(3)
        bar.advance(1, "12 rows/s")
    shown = console.file.getvalue()
    assert "generate" in shown
    assert "4/4" in shown
    assert "12 rows/s" in shown


def test_a_bar_ends_with_an_exception():
    console = terminal()

    def work() -> None:
        with Progress(console).bar("generate", 4):
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        work()
    with Progress(console).bar("again", 1) as bar:  # rich allows one live display at a time
        bar.advance()


def test_nobody_watching_costs_nothing(capfd):
    with Progress(None).bar("generate", 4) as bar:
        bar.advance(2, "note")
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
