import pytest

from sllm_data.errors import PoolError
from sllm_data.files import shipped_folder
from sllm_data.prompting.languages import FILE_NAME, language_name
from sllm_data.yaml_file import read_yaml

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


def test_a_language_without_a_name_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(PoolError, match=r"'tlh' has no name .*: ar, be, .* choose one of them"):
        language_name("tlh", "en")


def test_wordings_in_a_language_without_names_are_refused_with_those_that_can_be_had() -> None:
    with pytest.raises(PoolError, match=r"'fr', only in: de, en; set .*instruction_languages"):
        language_name("de", "fr")
