from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import PoolError
from sllm_data.yaml_file import MAX_BYTES, decode, read_yaml


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_value_knows_its_line(tmp_path: Path) -> None:
    file = read_yaml(written(tmp_path, "a: 1\nb:\n  - x\n  - c: 2\n"))
    assert file.data == {"a": 1, "b": ["x", {"c": 2}]}
    assert file.line_of(("b", 1, "c")) == 4
    assert file.line_of(("b", 7)) == 3
    assert file.line_of(("absent",)) == 1
    assert file.line_of(("a", "deeper")) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("a: [1\nb: 2", "line 2: is not valid YAML"),
        ("a: 1\na: 2", "line 2: the key a stands here twice"),
        ("a: &x 1\nb: *x", "line 1: an alias points here"),
        ("a: &x {<<: *x}", "an alias points here"),
        ("? [1]\n: 2", "line 1: is not valid YAML: found unhashable key"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: is not valid YAML: could not"),
        ("a: 2020-13-45", "holds an impossible value"),
        ("a: !!float x", "holds an impossible value"),
        ("a: !!bool x", "holds a value that its tag does not allow"),
        ("a: !!int ''", "holds a value that its tag does not allow"),
        ("a: !!timestamp x", "holds a value that its tag does not allow"),
        ("a:\n- 0x" + "f" * 4_000, "line 2: a number must have at most 100 characters, got 4002"),
        ("a: 1" + ":1" * 200 + ".5", "line 1: a number must have at most 100 characters"),
        ('a: "x\\ud800"', "line 1: is not valid YAML: found invalid Unicode"),
        ('a: 1\n"b\\0": 2', "line 2: text must not hold '\\x00'"),
        ("a: 1\n---\nb: 2", "line 2: is not valid YAML"),
        ("a: 1\nb: \x00", "line 2: is not valid YAML: the character U+0000 is not allowed"),
        ("[" * 5_000, "nested too deeply"),
        ("{" * MAX_BYTES, "nested too deeply, more than 50 levels"),
        ("".join(f"{' ' * k}a:\n" for k in range(51)), "nested too deeply"),
        (b"a: 1\nb: \xff\n", "line 2: must be UTF-8, found the byte 0xff"),
        ("\ufeffa: 1", "without a byte order mark"),
        ("#" * (MAX_BYTES + 1), "must be at most 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_plain_yaml_is_refused(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(PoolError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 40)]
    with pytest.raises(PoolError, match="alias"):
        read_yaml(written(tmp_path, "\n".join(lines)))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(PoolError, match="can't be read"):
            read_yaml(path)


@given(st.text(st.characters(exclude_categories=("Cs",))).filter(lambda t: t[:1] != "\ufeff"))
def test_text_survives_its_bytes(text: str) -> None:
    assert decode(Path("x"), text.encode()) == text
