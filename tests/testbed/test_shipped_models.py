"""The models that ship with the package: what they can do, and how large they are."""

from contextlib import closing
from itertools import islice

import pytest
from agree_engines import ask, engine_config, reference, requests
from transformers import AutoModel, AutoModelForCausalLM

from sllm_data.generation import start_engine
from sllm_data.steps.testbed import shipped_course
from sllm_data.testbed.answers import TASKS
from sllm_data.testbed.assets import KINDS, SHIPPED, read_asset, shipped
from sllm_data.testbed.encoder import load_encoder
from sllm_data.testbed.encoder_training import examine_encoder
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES

MEBIBYTE = 2**20


def test_all_of_them_are_small_enough_to_ship():
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size <= 10 * MEBIBYTE
    assert AutoModelForCausalLM.from_pretrained(shipped("backbone")).num_parameters() <= 4_000_000
    encoder = AutoModel.from_pretrained(shipped("encoder")).encoder
    assert sum(weight.numel() for weight in encoder.parameters()) <= 2_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_about_them_meets_the_marks(kind):
    figures = read_asset(SHIPPED, kind).figures
    if kind == "backbone":
        assert figures["sentences"].keys() == figures["stories"].keys() == TASKS.keys()
        assert min(figures["sentences"].values()) >= 0.99
    else:
        assert figures["seen"] <= 0.02
        assert figures["unseen"] <= 0.05


@pytest.mark.parametrize(("voices", "most"), [(WORLD_VOICES, 0.03), (HELD_OUT_VOICES, 0.08)])
def test_the_encoder_hears_stories_that_it_never_heard(voices, most):
    encoder = load_encoder(shipped("encoder"))
    assert examine_encoder(encoder, voices, num_texts=48, seed=11) <= most


@pytest.mark.engine
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # vLLM's imports warn
def test_vllm_and_transformers_give_the_same_answers_and_they_are_right():
    exam = list(islice(shipped_course().exam(seed=11, per_task=6), 90))
    backbone = shipped("backbone")
    with closing(start_engine(engine_config(backbone))) as engine:
        said = ask(engine, requests(backbone, exam))
    assert said == reference(backbone, exam)
    wrong = [
        lesson.task for lesson, answer in zip(exam, said, strict=True) if answer != lesson.answer
    ]
    assert len(wrong) <= 1, wrong
