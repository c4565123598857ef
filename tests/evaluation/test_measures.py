"""Each metric on answers whose score is known by hand or from the library that defines it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from sllm_data.evaluation.config import EvaluationConfig, TaskScoring
from sllm_data.evaluation.labels import f1, keywords_in, label_in
from sllm_data.evaluation.measures import METRICS, metrics_of
from tests.evaluation.eval_rows import CONFIG, SENTENCE, answer, judged, score

SHORT_TEXT = st.lists(
    st.sampled_from(["the", "a", "lamp", "lamps", "sold", "red", ",", "."]), max_size=8
).map(" ".join)


def test_word_errors_of_a_corpus_are_all_errors_over_all_words():
    answers = [answer("anna sold red lamps"), answer("so", reference="so it is")]
    assert score("wer", *answers) == pytest.approx((4 + 2) / (8 + 3))


def test_raw_word_errors_count_casing_and_punctuation_and_normalised_ones_do_not():
    said = "Anna sold three red lamps at the market."
    assert score("wer_raw", answer(said)) == pytest.approx(2 / 8)
    assert score("wer", answer(said)) == 0


def test_english_numbers_are_normalised_and_german_ones_are_not():
    fields = {"reference": "twenty one"}
    assert score("wer", answer("21", **fields)) == 0
    assert score("wer", answer("21", response_language="de", **fields)) == 1


def test_an_answer_with_line_feeds_has_the_same_words():
    assert score("wer_raw", answer(SENTENCE.replace(" ", "\n"))) == 0


def test_scripts_without_spaces_are_scored_by_characters_and_others_by_words():
    fields = {"reference": "我喜欢茶", "response_language": "zh"}
    assert score("cer", answer("我喜欢 水。", **fields)) == pytest.approx(1 / 4)
    assert score("wer", answer("我喜欢水", **fields)) is None
    assert score("cer", answer()) is None
    assert score("word_accuracy", answer("我喜欢水", **fields)) == pytest.approx(3 / 4)


def test_hindi_keeps_its_vowel_signs():
    fields = {"reference": "मैं हूँ", "response_language": "hi"}
    assert score("wer", answer("मैं है", **fields)) == pytest.approx(1 / 2)


def test_more_errors_than_words_are_an_accuracy_of_zero():
    assert score("word_accuracy", answer("a b c d", reference="e")) == 0


@given(pairs=st.lists(st.tuples(SHORT_TEXT, SHORT_TEXT.filter(str.strip)), min_size=1, max_size=6))
def test_bleu_and_chrf_of_summed_counts_are_those_of_sacrebleu(pairs):
    answers = [answer(said, reference=reference) for said, reference in pairs]
    said, references = [said for said, _ in pairs], [reference for _, reference in pairs]
    assert score("bleu", *answers) == pytest.approx(
        min(100, BLEU().corpus_score(said, [references]).score)
    )
    assert score("chrf", *answers) == pytest.approx(CHRF().corpus_score(said, [references]).score)


def test_bleu_cuts_chinese_into_characters():
    fields = {"reference": "我很喜欢喝绿茶", "response_language": "zh-CN"}
    expected = BLEU(tokenize="zh").corpus_score(["我很喜欢喝红茶"], [["我很喜欢喝绿茶"]]).score
    assert score("bleu", answer("我很喜欢喝红茶", **fields)) == pytest.approx(expected)
    assert expected > 0


def test_bleu_of_one_short_row_is_zero_where_no_four_words_follow_each_other():
    assert score("bleu", answer("red lamps", reference="red lamps")) == 0
    assert score("chrf", answer("red lamps", reference="red lamps")) == pytest.approx(100)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("said", "reference"), [("", ""), ("", "a b"), ("a b", ""), ("!", "?")])
def test_no_metric_stumbles_over_empty_answers_and_references(name, said, reference):
    found = score(name, answer(said, reference=reference, task="sentiment", transcript=""))
    assert found is None or 0 <= found < 1000


@pytest.mark.parametrize("name", ["wer", "cer", "bleu", "chrf", "rouge_l", "keyword_f1"])
def test_a_row_without_reference_has_no_score_of_its_own(name):
    assert score(name, answer("something", reference="")) is None


def test_an_insertion_where_nothing_should_be_counts_in_the_corpus():
    assert score("wer", answer("so"), answer("so", reference="")) == pytest.approx((8 + 1) / 8)


def test_exact_match_passes_over_casing_and_punctuation_and_the_raw_one_does_not():
    said = answer("Positive.", reference="positive")
    assert (score("exact_match", said), score("exact_match_raw", said)) == (1, 0)
    assert score("exact_match", answer("?", reference="!")) == 0


def test_rouge_l_is_the_f1_of_words_in_common_and_in_order():
    assert score("rouge_l", answer("a b c", reference="a c d e")) == pytest.approx(4 / 7)


def test_keywords_are_compared_as_a_set():
    said = answer("1. Lamps\n2. anna\n3. fog", reference="lamps, market, anna")
    assert score("keyword_f1", said) == pytest.approx(2 / 3)
    assert f1(frozenset(), frozenset()) == 0


@pytest.mark.parametrize(
    "text", ["lamps; market", "- lamps\n- market", "lamps、market", "*  lamps|market"]
)
def test_lists_may_be_written_in_any_way(text):
    assert keywords_in(text) == {"lamps", "market"}


def test_a_label_is_found_in_a_sentence_and_two_of_them_are_none():
    labels = ("positive", "negative", "very positive")
    assert label_in("The mood is POSITIVE.", labels) == "positive"
    assert label_in("very positive", labels) == "very positive"
    assert label_in("positive or negative", labels) is None
    assert label_in("no idea", labels) is None


def test_label_accuracy_leaves_out_rows_whose_reference_names_no_label():
    rows = [
        answer("it is negative", task="sentiment", reference="negative"),
        answer("positive", task="sentiment", reference="negative"),
        answer("positive", task="sentiment", reference="mixed feelings"),
    ]
    assert score("label_accuracy", *rows) == pytest.approx(1 / 2)


def test_a_copy_of_the_transcript_is_an_anchor_where_something_else_was_asked():
    fields = {"task": "summary", "reference": "about anna: sold lamps"}
    assert judged(SENTENCE.upper() + ".", **fields).is_anchored is True
    assert judged("about anna: sold lamps", **fields).is_anchored is False
    assert judged("anna waited", **fields).is_anchored is False


def test_a_copy_with_a_fifth_of_the_words_replaced_is_still_one():
    fields = {"task": "summary", "reference": "x", "transcript": "a b c d e"}
    assert judged("a b c d z", **fields).is_anchored is True
    assert judged("a b c y z", **fields).is_anchored is False


def test_a_right_answer_that_is_near_the_transcript_is_no_anchor():
    fields = {
        "task": "politeness",
        "transcript": "a b c d e f g h i",
        "reference": "please oh dear a b c d e f g",
    }
    assert judged("dear a b c d e f g", **fields).is_anchored is False
    assert judged("a b c d e f g h", **fields).is_anchored is True


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "transcription"},
        {"task": "summary", "reference": SENTENCE},
        {"task": "summary", "transcript": "so what", "reference": "x"},
        {"task": "summary", "transcript": "", "reference": "x"},
    ],
)
def test_nothing_is_said_of_anchors_where_a_copy_may_be_right(fields):
    assert judged(**fields).is_anchored is None


def test_the_text_that_the_backbone_saw_is_what_is_copied():
    fields = {"task": "summary", "reference": "x", "transcript_prepared": "one two three four"}
    assert judged("one two three four", **fields).is_anchored is True
    assert judged(SENTENCE, **fields).is_anchored is False


@pytest.mark.parametrize(
    ("said", "fields", "rule"),
    [
        ("about anna: sold lamps", {}, None),
        ("", {}, "empty_response"),
        ("about anna", {"finish_reason": "length"}, "truncated"),
        ("As an AI language model, I cannot do that.", {}, "refusal"),
        ("so " * 40, {}, "repetition_loop"),
        (SENTENCE, {}, "copied_transcript"),
        ("Die Frau verkaufte gestern auf dem Markt drei rote Lampen.", {}, "wrong_language"),
        ("good", {"task": "sentiment", "reference": "positive"}, "no_label"),
        ("bad", {"task": "sentiment", "reference": "positive"}, "no_label"),
        ("negative", {"task": "sentiment", "reference": "positive"}, None),
    ],
)
def test_the_first_rule_that_an_answer_breaks_is_told(said, fields, rule):
    defaults = {"task": "summary", "reference": "about anna: sold lamps"}
    assert judged(said, **(defaults | fields)).broken_rule == rule


def test_a_rule_that_the_reference_breaks_is_not_held_against_the_answer():
    fields = {"task": "summary", "reference": "", "finish_reason": "length"}
    assert judged("", **fields, reference_finish_reason="length").broken_rule is None
    assert judged("", **fields).broken_rule == "truncated"


def test_json_is_checked_where_the_task_asks_for_it():
    task = TaskScoring(metrics=("exact_match",), main="exact_match", expects_json=True)
    config = EvaluationConfig(tasks={"slots": task})
    rows = [
        answer('{"place": "market"}', task="slots", reference='{"place": "market"}'),
        answer("market", task="slots", reference='{"place": "market"}'),
    ]
    assert score("json_valid", *rows, config=config) == pytest.approx(1 / 2)
    assert score("json_valid", *rows) is None


def test_loss_is_a_mean_over_tokens_and_not_over_rows():
    rows = [answer(nll=2.0, nll_tokens=1), answer(nll=2.0, nll_tokens=3), answer()]
    assert score("nll", *rows) == pytest.approx(1.0)


@pytest.mark.parametrize("task", ["transcription", "keywords", "something else"])
def test_a_task_gets_its_main_metric_first_and_each_once(task):
    names = metrics_of(task, CONFIG)
    assert names[0] == CONFIG.scoring(task).main
    assert len(names) == len(set(names))
    assert {"following", "anchor"} <= set(names)
