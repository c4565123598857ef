"""Trainings, whole but tiny; what the shipped models can do is tested apart."""

from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from sllm_data.errors import ModelError, OutputError, RejectedError
from sllm_data.files import sha256_of_file
from sllm_data.steps import Progress
from sllm_data.steps.testbed import build_models
from sllm_data.testbed.assets import read_asset
from sllm_data.testbed.backbone import LlamaSize
from sllm_data.testbed.backbone_training import BackboneTraining
from sllm_data.testbed.encoder import EncoderSize
from sllm_data.testbed.encoder_training import EncoderTraining

SILENT = Progress(None)
TINY = BackboneTraining(
    seed=3,
    size=LlamaSize(hidden=32, layers=2, heads=2, feed_forward=64, tied=True),
    steps=12,
    batch_tokens=1_024,
    exam_per_task=1,
    required=0.0,
    required_stories=0.0,
)


def build(root, training=TINY, *, minutes=10.0):
    (asset,) = build_models(root, [training], minutes=minutes, progress=SILENT)
    return asset


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("testbed")
    build(root)
    return root


def test_what_is_built_is_a_model_folder_that_chats(built):
    model = AutoModelForCausalLM.from_pretrained(built / "backbone")
    tokenizer = AutoTokenizer.from_pretrained(built / "backbone")
    asked = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who did it?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    assert model.generate(**asked, max_new_tokens=4, do_sample=False).shape[0] == 1


def test_the_same_seed_gives_the_same_files(built, tmp_path):
    again = build(tmp_path)
    other = build(tmp_path / "other", replace(TINY, seed=4))
    weights = "model.safetensors"
    assert read_asset(built, "backbone").figures == again.figures
    assert sha256_of_file(built / "backbone" / weights) == sha256_of_file(again.folder / weights)
    assert sha256_of_file(other.folder / weights) != sha256_of_file(again.folder / weights)


def test_a_built_one_is_not_built_again(built):
    before = (built / "backbone" / "model.safetensors").stat().st_mtime_ns
    assert build(built).figures == read_asset(built, "backbone").figures
    assert (built / "backbone" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="found another training; choose another folder"):
        build(built, replace(TINY, steps=13))


def test_a_training_that_runs_out_of_time_says_how_far_it_came(tmp_path):
    with pytest.raises(RejectedError, match=r"after step 1 of 12, with a loss of \d\.\d{3}"):
        build(tmp_path, minutes=0)
    assert not (tmp_path / "backbone").exists()


@pytest.mark.parametrize(
    ("mark", "text"), [("required", "sentences"), ("required_stories", "stories")]
)
def test_a_backbone_that_can_do_too_little_is_refused(tmp_path, mark, text):
    with pytest.raises(RejectedError, match=rf"of each task exactly about {text}, but got 0"):
        build(tmp_path, replace(TINY, **{mark: 0.99}))
    assert not (tmp_path / "backbone").exists()


def test_a_file_that_is_not_what_it_was_is_named(tmp_path):
    folder = build(tmp_path).folder
    with (folder / "config.json").open("a") as config:
        config.write(" ")
    with pytest.raises(ModelError, match=r"config\.json: must have the SHA-256 [0-9a-f]{64}"):
        read_asset(tmp_path, "backbone")
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json: must have the SHA-256 .* found no file"):
        read_asset(tmp_path, "backbone")


def test_a_model_that_was_made_is_kept_when_the_other_falls_short(tmp_path):
    deaf = EncoderTraining(
        size=EncoderSize(hidden=32, layers=1, heads=2, feed_forward=64),
        steps=1,
        batch_frames=600,
        hard=(0.5,),
        exam_texts=4,
    )
    with pytest.raises(
        RejectedError, match="the encoder may get 2% of the words wrong by voices of its"
    ):
        build_models(tmp_path, [TINY, deaf], minutes=10, progress=SILENT)
    assert read_asset(tmp_path, "backbone").figures["parameters"] > 0
    assert not (tmp_path / "encoder").exists()
    with pytest.raises(
        ModelError, match="there is no encoder here; run `sllm-data testbed build`"
    ):
        read_asset(tmp_path, "encoder")


@pytest.mark.parametrize("page", ["[]", "{", "\udcff"])
def test_a_folder_whose_description_is_none_is_refused_before_anything_is_trained(tmp_path, page):
    (tmp_path / "testbed.json").write_text(page, "utf-8", "surrogateescape")
    with pytest.raises(OutputError, match=r"testbed\.json: must be a description of models"):
        build(tmp_path)
    assert not (tmp_path / "backbone").exists()
