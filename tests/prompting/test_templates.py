import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import PoolError
from sllm_data.files import sha256_of_file, shipped_folder
from sllm_data.prompting.templates import Template, load_template, template_from_string


def test_variables_are_those_that_the_template_reads() -> None:
    template = Template("mine", "{{ a }}{% if b %}{{ b }}{% endif %}{{ c|trim }}")
    assert template.variables == {"a", "b", "c"}
    assert template.verbatim == {"a"}


def test_a_field_that_is_not_read_is_ignored() -> None:
    assert Template("mine", "{{ a }}").render(a="x", b="y") == "x"


def test_an_undefined_variable_is_named_with_its_template() -> None:
    with pytest.raises(PoolError, match=r"template mine: variable b is undefined; .*: a, c$"):
        Template("mine", "{{ a }}{{ b }}").render(a="", c="")


def test_a_branch_that_is_not_taken_needs_no_field() -> None:
    template = Template("mine", "{% if a is defined %}{{ a ~ b }}{% endif %}x")
    assert template.render() == "x"


@given(st.text())
def test_a_value_is_data_and_never_read_as_jinja(value: str) -> None:
    for text in (value, "{{ a }}", "{% raw %}", "{#" + value):
        assert Template("mine", "<{{ a }}>").render(a=text) == f"<{text}>"


def test_a_template_crosses_to_another_process() -> None:
    template = load_template("judge")
    copy = pickle.loads(pickle.dumps(template))  # noqa: S301 - our own bytes
    assert copy == template
    assert copy.variables == template.variables


def test_a_template_without_variables_is_its_text() -> None:
    assert template_from_string("mine", "Just {# not #}this.\n").render() == "Just this."


def test_the_hash_of_a_template_is_that_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.j2"
    path.write_bytes("Größe\r\n{{ a }}\n".encode())
    template = load_template("mine.j2", folder=tmp_path)
    assert template.sha256 == sha256_of_file(path)
    assert template.id == "mine"


def test_a_name_is_looked_up_in_the_own_folder_first(tmp_path: Path) -> None:
    (tmp_path / "judge.j2").write_text("mine {{ response }}", encoding="utf-8")
    assert load_template("judge", folder=tmp_path).render(response="x") == "mine x"
    shipped = load_template("restore", folder=tmp_path)
    assert shipped.sha256 == sha256_of_file(shipped_folder("prompts") / "restore.j2")


def test_a_path_is_relative_to_the_own_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mine.j2").write_text("x", encoding="utf-8")
    assert load_template("deep/mine.j2", folder=tmp_path).render() == "x"
    assert load_template(str(tmp_path / "deep" / "mine.j2")).render() == "x"


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("x", encoding="utf-8")
    known = "content_first, followup, instruction_first, judge, mine, question, restore, "
    with pytest.raises(PoolError, match=f"no prompt template 'mein'; there is: {known}"):
        load_template("mein", folder=tmp_path)


def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"gone\.j2: there is no such prompt template"):
        load_template("gone.j2", folder=tmp_path)


def test_a_template_that_reads_an_unknown_field_is_refused_at_the_door(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("{{ a }}{{ b }}", encoding="utf-8")
    fields = frozenset({"a", "c"})
    with pytest.raises(PoolError, match=r"mine\.j2: variable b is unknown here; there is: a, c"):
        load_template("mine", folder=tmp_path, fields=fields)
    assert load_template("mine", folder=tmp_path, fields=fields | {"b"}).id == "mine"


def test_a_refused_template_is_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("\n{% for a in b %}{% endfor %}", encoding="utf-8")
    with pytest.raises(PoolError, match=r"/mine\.j2: template mine, line 2: a loop"):
        load_template("mine", folder=tmp_path)
    (tmp_path / "mine.j2").write_bytes(b"\xff")
    with pytest.raises(PoolError, match=r"mine\.j2, line 1: must be UTF-8"):
        load_template("mine", folder=tmp_path)
