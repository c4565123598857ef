"""Which language a text is in: the lingua library, over a stated set of languages.

Lingua is trained on all of its 75 languages, but telling all of them apart costs a gigabyte
and most of the speed (figures in docs/filtering.md). So a small set that covers what
backbones fall into is always compared, plus the one language that is expected of the text:
any of the 75 can be expected, and memory is paid for those that occur.
"""

from functools import cache, lru_cache

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

DEFAULT_LANGUAGES = (
    "ar", "de", "el", "en", "es", "fr", "he", "hi", "it", "ja",
    "ko", "nl", "pl", "pt", "ru", "ta", "th", "tr", "zh",
)  # fmt: skip
"""Always compared: widely spoken, or told by their script at no cost."""

UNDETERMINED = "und"
"""The code that standards give to text whose language nobody knows."""

_SAMPLE_CHARACTERS = 240
_DECIMALS = 3
# Lingua sums in an order that changes from process to process, so the last digits do too;
# without rounding, a dataset made in two goes would differ from one made in one.
_OTHER_NAMES = {"no": "nb", "iw": "he", "in": "id", "fil": "tl", "cmn": "zh"}


def language_code(locale: str) -> str | None:
    """Returns the two-letter code of a locale, or None where lingua does not know it.

    >>> language_code("zh-CN"), language_code("pt_BR"), language_code("deu"), language_code("ab")
    ('zh', 'pt', 'de', None)
    """
    primary = locale.replace("_", "-").partition("-")[0].lower()
    primary = _OTHER_NAMES.get(primary, primary)
    language = _languages().get(primary)
    return None if language is None else str(language.iso_code_639_1.name).lower()


def detect_language(
    text: str, *, languages: tuple[str, ...] = DEFAULT_LANGUAGES, expected: str | None = None
) -> tuple[str | None, dict[str, float]]:
    """Returns the likeliest language of a text and the confidence in each one.

    Of a long text its beginning and its end are looked at, 240 characters in all: an answer
    that starts in one language and slides into another then shows both.

    Args:
        text: Any text.
        languages: Two or more codes or locales that lingua knows; the candidates.
        expected: One more candidate; ignored where lingua does not know it.

    Returns:
        A two-letter code, None where nothing tells; and the confidence in each candidate, in
        [0, 1], to three decimals: they sum to about 1, or are all 0 where nothing tells.
    """
    codes = _codes(languages, expected)
    values = _detector(codes).compute_language_confidence_values(_sample(text))
    by_code = {str(value.language.iso_code_639_1.name).lower(): value.value for value in values}
    confidences = {code: round(min(max(by_code[code], 0.0), 1.0), _DECIMALS) for code in codes}
    likeliest = max(codes, key=confidences.__getitem__)
    return (likeliest if confidences[likeliest] > 0 else None), confidences


def _sample(text: str) -> str:
    if len(text) > _SAMPLE_CHARACTERS:
        half = _SAMPLE_CHARACTERS // 2
        text = f"{text[:half]} {text[-half:]}"
    # Lone surrogates, which JSON can carry, are no text that another library would take.
    return text if text.isascii() else text.encode("utf-8", "ignore").decode("utf-8")


@cache
def _languages() -> dict[str, Language]:
    by_code: dict[str, Language] = {}
    for language in Language.all():
        by_code[language.iso_code_639_1.name.lower()] = language
        by_code[language.iso_code_639_3.name.lower()] = language
    return by_code


@lru_cache(maxsize=256)
def _codes(languages: tuple[str, ...], expected: str | None) -> tuple[str, ...]:
    locales = languages if expected is None else (*languages, expected)
    return tuple(sorted({code for locale in locales if (code := language_code(locale))}))


@cache
def _detector(codes: tuple[str, ...]) -> LanguageDetector:
    # Detectors share their models, which are read on first use.
    chosen = [_languages()[code] for code in codes]
    return LanguageDetectorBuilder.from_languages(*chosen).build()
