"""The seam of all levels: tallies that add up, samples that agree, names that are quoted."""

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.subject import is_sampled, quoted, sampled_sql

places = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["p0", "p1", "p2"])), max_size=30
)


def tally_of(found, keep=3):
    tally = Tally(keep)
    for rule, part in found:
        tally.add(Finding(rule=rule, part=part, message=f"{rule} {part}"))
    return tally


@given(places, st.permutations(["p0", "p1", "p2"]))
def test_a_tally_is_the_same_in_whatever_order_parts_come(found, order):
    whole = tally_of(found)
    merged = Tally(3)
    for part in order:
        merged.merge(tally_of([pair for pair in found if pair[1] == part]))
    assert merged.counts == whole.counts
    for rule in "abc":
        assert merged.findings(rule) == whole.findings(rule)
        assert len(whole.findings(rule)) == min(3, whole.counts[rule])


@given(st.text().filter(lambda t: "\x00" not in t and t.isprintable()), st.floats(0.001, 1))
def test_python_and_sql_sample_the_same_rows(row_id, share):
    query = f"SELECT {sampled_sql('id', share)} FROM (SELECT ? AS id)"
    assert duckdb.execute(query, [row_id]).fetchall() == [(is_sampled(row_id, share),)]


def test_a_share_is_about_that_share():
    taken = sum(is_sampled(f"row-{number}", 0.1) for number in range(10_000))
    assert 900 < taken < 1_100


@given(st.text(min_size=1).filter(lambda t: "\x00" not in t and t.isprintable()))
def test_any_name_can_be_a_column(name):
    (row,) = duckdb.execute(f"SELECT {quoted(name)} FROM (SELECT 7 AS {quoted(name)})").fetchall()
    assert row == (7,)


@given(st.text())
def test_a_shown_value_is_at_most_80_characters(value):
    assert len(shown(value)) <= 80
