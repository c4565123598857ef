import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.filtering.config import FilterConfig
from sllm_data.filtering.verdicts import Answer, Verdict, judge_response
from sllm_data.records import Reason

HEARD = "The next day, the boy met the old man at noon."
GOOD = "The speaker is describing something that happened, and sounds neither glad nor sad."
DEFAULT = FilterConfig()
ALL_OFF = FilterConfig(
    truncated="keep", empty=False, refusal=False, repetition=False, wrong_language=False,
    broken_json=False, copied=False, leaked_template=False,
)  # fmt: skip


def judge(text: str, config: FilterConfig = DEFAULT, **known: object) -> Verdict:
    request = {
        "finish_reason": "stop", "transcript": HEARD, "task": "sentiment", "may_copy": False,
        "expected_language": "en", "control_strings": ("<|im_end|>",),
    }  # fmt: skip
    return judge_response(Answer(text=text, **{**request, **known}), config)


def test_a_good_answer_is_kept_with_its_measures():
    verdict = judge(GOOD, mean_logprob=-0.5)
    assert (verdict.reason, verdict.detail, verdict.language) == (None, "", "en")
    assert verdict.quality.verdict == "kept"
    assert verdict.quality.copy_rate < 0.4
    assert verdict.quality.repetition == 0
    assert verdict.quality.language_match > 0.9
    assert verdict.quality.mean_logprob == -0.5
    assert verdict.quality.judge_score is None


@pytest.mark.parametrize(
    ("text", "known", "reason"),
    [
        ("", {}, Reason.EMPTY_RESPONSE),
        (" \n ...!? \u200b", {}, Reason.EMPTY_RESPONSE),
        ("I'm sorry, but I can't assist with that.", {}, Reason.REFUSAL),
        ("It is the " + "best of the " * 30, {}, Reason.REPETITION_LOOP),
        ("第二天中午，男孩遇见了那位老人。他们谈了很久。", {}, Reason.WRONG_LANGUAGE),
        ("Der Sprecher klingt dabei weder froh noch traurig.", {}, Reason.WRONG_LANGUAGE),
        (GOOD, {"expected_language": "de"}, Reason.WRONG_LANGUAGE),
        (GOOD, {"expected_language": "sv-SE"}, Reason.WRONG_LANGUAGE),
        ('{"mood": ', {"expects_json": True}, Reason.BROKEN_JSON),
        ("neutral", {"expects_json": True}, Reason.BROKEN_JSON),
        ("42", {"expects_json": True}, Reason.BROKEN_JSON),
        ('{"mood": NaN}', {"expects_json": True}, Reason.BROKEN_JSON),
        ("[" * 100_000, {"expects_json": True, "task": "deep"}, Reason.REPETITION_LOOP),
        (HEARD.upper(), {}, Reason.COPIED_TRANSCRIPT),
        (HEARD, {"task": "keywords"}, Reason.COPIED_TRANSCRIPT),
        (f"{GOOD}<|im_end|>", {}, Reason.LEAKED_TEMPLATE),
        (f"{GOOD}\nUSER: and then?", {}, Reason.LEAKED_TEMPLATE),
    ],
)
def test_each_fault_is_named(text, known, reason):
    verdict = judge(text, **known)
    assert verdict.reason is reason
    assert verdict.detail
    assert verdict.quality.verdict == reason.value
    off = judge(text, ALL_OFF, **known)
    assert off.reason is None
    assert off.quality.copy_rate == verdict.quality.copy_rate
    assert off.quality.language_match == verdict.quality.language_match


def test_a_detail_is_one_short_line_that_shows_odd_characters():
    detail = judge("\u200b\n" + "." * 500).detail
    assert len(detail) < 150
    assert "\\u200b\\n..." in detail


def test_deep_json_is_broken_not_fatal():
    config = FilterConfig(repetition=False, empty=False)
    assert judge("[" * 100_000, config, expects_json=True).reason is Reason.BROKEN_JSON


@pytest.mark.parametrize(
    ("choice", "reason", "mark"),
    [("keep", None, "kept"), ("mark", None, "truncated"), ("drop", Reason.TRUNCATED, "truncated")],
)
def test_a_cut_off_answer_is_kept_marked_or_dropped(choice, reason, mark):
    verdict = judge(GOOD, FilterConfig(truncated=choice), finish_reason="length")
    assert (verdict.reason, verdict.quality.verdict) == (reason, mark)
    assert judge(GOOD, FilterConfig(truncated=choice)).quality.verdict == "kept"


def test_the_first_fault_in_order_gives_the_reason():
    text = "I'm sorry, but I can't assist with that. " * 10 + "<|im_end|>"
    assert judge(text).reason is Reason.REFUSAL
    assert judge(text, FilterConfig(refusal=False)).reason is Reason.REPETITION_LOOP
    off = FilterConfig(refusal=False, repetition=False)
    assert judge(text, off).reason is Reason.LEAKED_TEMPLATE


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Horace Enea, Compel, early language, single assignment", "en"),
        ("Paris, Champs-Élysées, Louvre, Versailles", "en"),
        ("pizza, spaghetti, tiramisu, espresso, Milano", "en"),
        ("Bonaparte, Josephine, Malmaison, Versailles", "en"),
        ("Projektmanagement, Meeting, Deadline, Feedback, Budget", "de"),
        ("東京都、大阪府、京都府、北海道、名古屋市", "ja"),
        ("Google、Microsoft、人工智能、机器学习", "zh-CN"),
        ("Positive", "de"),
        ("neutral", "zh-CN"),
        ("😀", "en"),
        ("42", "ta"),
        ("The word Fernsprechapparat means telephone in German.", "en"),
    ],
)
def test_short_answers_names_and_keyword_lists_are_kept(text, language):
    verdict = judge(text, task="keywords", expected_language=language)
    assert verdict.reason is None
    assert verdict.language == language.partition("-")[0]


def test_keywords_in_another_language_are_found():
    chinese = "老人、男孩、中午、第二天、会面、谈话"
    assert judge(chinese, task="keywords").reason is Reason.WRONG_LANGUAGE


def test_good_keywords_and_translations_are_no_copies():
    assert judge("boy, old man, noon, next day", task="keywords").reason is None
    german = "Am nächsten Tag traf der Junge mittags den alten Mann."
    verdict = judge(german, task="translation", expected_language="de")
    assert (verdict.reason, verdict.language) == (None, "de")


def test_short_transcripts_may_be_answered_in_their_own_words():
    assert judge("Firefox", transcript="Firefox", task="translation").reason is None
    assert judge("你是谁", transcript="你是谁", expected_language=None).reason is None


def test_tasks_that_ask_for_a_copy_get_one():
    verdict = judge(HEARD, task="repetition", may_copy=True)
    assert (verdict.reason, verdict.quality.copy_rate) == (None, 1.0)


def test_what_was_said_over_and_over_may_be_repeated():
    chant = "row your boat " * 10
    assert judge(chant, transcript=chant, may_copy=True).reason is None
    assert judge(chant).reason is Reason.REPETITION_LOOP


@pytest.mark.parametrize("text", ['{"mood": "neutral"}', "[1, 2]", '```json\n{"a": 1}\n```\n'])
def test_json_is_accepted_bare_or_fenced(text):
    verdict = judge(text, expects_json=True)
    assert verdict.reason is None
    assert verdict.quality.language_match is None


def test_a_fence_is_refused_where_the_configuration_says_so():
    strict = FilterConfig(json_allow_fence=False)
    assert judge('```json\n{"a": 1}\n```', strict, expects_json=True).reason is Reason.BROKEN_JSON


def test_the_language_is_the_expected_one_unless_it_is_surely_another():
    assert judge("Hm.", expected_language="zh-CN").language == "zh"
    assert judge("Bonjour à tous mes amis de Paris.", expected_language=None).language == "fr"
    assert judge("Hm.", expected_language=None).language == "und"
    assert judge("Нас Иусуф иҟны инеит, аԥҭа еиԥш", expected_language="ab").language == "ab"
    assert judge(GOOD, ALL_OFF, expected_language="de").language == "en"


@pytest.mark.parametrize(
    ("score", "unscored", "reason"),
    [
        (3, "drop", None),
        (2, "drop", Reason.JUDGED_BAD),
        (None, "drop", Reason.JUDGED_BAD),
        (None, "keep", None),
    ],
)
def test_the_judge_decides_where_it_is_on(score, unscored, reason):
    config = FilterConfig(judge=True, judge_unscored=unscored)
    verdict = judge(GOOD, config, judge_score=score)
    assert (verdict.reason, verdict.quality.judge_score) == (reason, score)
    assert judge(GOOD, judge_score=1).reason is None


@given(
    st.text(alphabet=st.characters(exclude_categories=())),
    st.text(alphabet=st.characters(exclude_categories=())),
    st.sampled_from(["en", "zh-CN", "th", "ab", "", None]),
    st.booleans(),
)
def test_any_text_gets_a_verdict_with_shares_and_one_line(text, transcript, language, is_json):
    verdict = judge(text, transcript=transcript, expected_language=language, expects_json=is_json)
    quality = verdict.quality
    for value in (quality.copy_rate, quality.repetition, quality.language_match):
        assert value is None or 0 <= value <= 1
    assert (verdict.reason is None) == (verdict.detail == "")
    assert len(verdict.detail.splitlines()) <= 1
    verdict.detail.encode("utf-8")


@given(st.text(min_size=1))
def test_a_copy_has_rate_one_or_no_words(text):
    assert judge(text, transcript=text).quality.copy_rate in {1.0, None}


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_any_json_object_is_json(value):
    config = FilterConfig(refusal=False, repetition=False, copied=False, leaked_template=False)
    assert judge(json.dumps(value), config, expects_json=True).reason is None


def rows_of(table: Path) -> list[dict[str, str]]:
    content = table.read_bytes()
    text = (gzip.decompress(content) if table.suffix == ".gz" else content).decode("utf-8")
    lines = text.removesuffix("\n").split("\n")
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def human_sentences(real_speech: Path) -> list[tuple[str, str]]:
    tables = sorted(real_speech.glob("common_voice/*/*/validated.tsv"))
    spoken = [(row["locale"], row["sentence"]) for table in tables for row in rows_of(table)]
    librispeech = rows_of(real_speech / "manifests/librispeech/train-clean-100.tsv.gz")
    return spoken + [("en", row["text"]) for row in librispeech[::10]]


@pytest.mark.real_speech
def test_what_people_say_is_hardly_ever_dropped(real_speech):
    sentences = human_sentences(real_speech)
    assert len(sentences) > 3_000
    heard = [sentences[-1][1], *(text for _, text in sentences)]
    reasons = Counter(
        judge(text, transcript=before, expected_language=locale).reason
        for (locale, text), before in zip(sentences, heard, strict=False)
    )
    num = len(sentences)
    assert reasons[Reason.WRONG_LANGUAGE] <= 0.001 * num
    assert reasons[Reason.REPETITION_LOOP] <= 0.001 * num
    assert reasons[None] + reasons[Reason.WRONG_LANGUAGE] + reasons[Reason.REPETITION_LOOP] == num


@pytest.mark.real_speech
def test_real_sentences_in_a_language_nobody_asked_for_are_dropped(real_speech):
    tables = sorted(real_speech.glob("common_voice/*/*/validated.tsv"))
    spoken = [(row["locale"], row["sentence"]) for table in tables for row in rows_of(table)]
    asked = {"en": "zh-CN"}
    verdicts = [judge(text, expected_language=asked.get(locale, "en")) for locale, text in spoken]
    judged = [verdict for verdict in verdicts if verdict.quality.language_match is not None]
    found = [verdict for verdict in judged if verdict.reason is Reason.WRONG_LANGUAGE]
    assert len(judged) > 200
    assert len(found) >= 0.93 * len(judged)
