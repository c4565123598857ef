from pathlib import Path

import pytest

from sllm_data.errors import PoolError
from sllm_data.files import shipped_folder
from sllm_data.prompting.languages import FILE_NAME, language_name
from sllm_data.prompting.yaml_file import read_yaml

COMMON_VOICE = (
    *("ar", "de", "en", "es", "fr", "hi", "it", "ja", "nl"),
    *("pl", "pt", "ru", "ta", "th", "tr", "zh-CN", "zh-TW", "zh-HK", "sv-SE", "ga-IE"),
)


@pytest.mark.parametrize("code", COMMON_VOICE)
def test_a_language_of_common_voice_has_a_name_in_english_and_german(code: str) -> None:
    assert language_name(code, "en")[0].isupper()
    assert language_name(code, "de")[0].isupper()


def test_every_language_has_a_name_in_english_and_german_that_no_other_has() -> None:
    table = read_yaml(shipped_folder("prompts") / FILE_NAME).data
    for inner in ("en", "de"):
        names = [names[inner] for names in table.values()]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("code", "in_language", "name"),
    [
        ("de", "en", "German"),
        ("DE", "de-AT", "Deutsch"),
        ("zh-CN", "en", "Chinese"),
        ("zh-tw", "en", "Chinese (Traditional)"),
        ("pt_BR", "de", "Portugiesisch"),
        ("no", "en", "Norwegian"),
    ],
)
def test_a_name_is_found_by_code_or_by_its_first_part(
    code: str, in_language: str, name: str
) -> None:
    assert language_name(code, in_language) == name


def test_an_unknown_name_is_refused_with_the_line_to_add() -> None:
    with pytest.raises(PoolError, match=r"'tlh' in language 'en' is unknown; add .*tlh: \{en:"):
        language_name("tlh", "en")
    with pytest.raises(PoolError, match="in language 'fr'"):
        language_name("de", "fr")


def test_an_own_table_adds_and_overrides(tmp_path: Path) -> None:
    text = "de: {fr: allemand, en: Standard German}\n"
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    assert language_name("de", "fr", folder=tmp_path) == "allemand"
    assert language_name("de", "en", folder=tmp_path) == "Standard German"
    assert language_name("es", "en", folder=tmp_path) == "Spanish"


def test_a_folder_without_a_table_changes_nothing(tmp_path: Path) -> None:
    assert language_name("de", "en", folder=tmp_path) == "German"


@pytest.mark.parametrize(
    ("text", "line"),
    [("es: {en: 1}", 1), ("en: {en: x}\nno: {en: Norwegian}", 1), ("en:\n  no: x", 2), ("[]", 1)],
)
def test_a_malformed_table_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(PoolError, match=rf"line {line}: must be 'code: \{{code: name\}}'"):
        language_name("de", "en", folder=tmp_path)
