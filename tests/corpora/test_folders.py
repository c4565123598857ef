from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sllm_data.corpora.folders import named, printable, stays_inside
from sllm_data.files import inside

PART = st.sampled_from(["a", "b", "out", "in", "loop", "..", ".", "", "gone", "x\x00"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "root"
    (root / "a" / "b").mkdir(parents=True)
    for folder in (root, root / "a"):
        (folder / "out").symlink_to(root.parent)
        (folder / "in").symlink_to(root / "a")
    return root


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PART, min_size=1, max_size=5).map("/".join))
def test_the_short_way_judges_as_the_resolved_path_does(tree: Path, relative: str) -> None:
    assert stays_inside(tree, relative) == inside(tree, relative)


def test_a_loop_of_links_leads_nowhere_and_so_not_outside(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert stays_inside(tmp_path, "loop/x") == tmp_path / "loop" / "x"


def test_many_names_are_cut_in_a_sentence() -> None:
    assert named("abc", at_most=2) == "a, b and 1 more"
    assert named([]) == "none"


@given(st.binary(min_size=1, max_size=12))
def test_any_name_from_disk_becomes_one_line_of_text(name: bytes) -> None:
    shown = printable(name.decode("utf-8", "surrogateescape"))
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
