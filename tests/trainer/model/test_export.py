import json
from functools import partial
from pathlib import Path

import pytest
import torch
from model_exports import RATE, SHIPPED, as_pack, clip, trained_model
from model_packs import CONNECTORS
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor

from sllm_data.chat import ChatRenderer
from sllm_data.errors import ModelError, OutputError
from sllm_data.records import Message
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.model.export import export_model, exported_weights
from sllm_data.trainer.model.hf_modeling import UltravoxModel
from sllm_data.trainer.model.hf_processing import SpeechLMProcessor
from sllm_data.trainer.model.speech_lm import SpeechLM

MESSAGES = [[Message(role="user", content="<|audio|>what is this?")]]
SECONDS = (0.9, 4.1)  # the encoder hears 2 s at once


@pytest.fixture(scope="module")
def trained(whisper_folder):
    return partial(trained_model, whisper_folder)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> dict[str, tuple[SpeechLM, Path]]:
    """Models and the folders that they were written to."""
    made = {}
    for kind in CONNECTORS:
        folder = tmp_path_factory.mktemp("exports") / kind
        made[kind] = (trained(kind), folder)
        export_model(made[kind][0], folder, stop_ids=[2])
    return made


@pytest.mark.parametrize("kind", CONNECTORS)
def test_transformers_loads_it_and_gives_the_trainers_logits_and_answers(kind, exported):
    model, folder = exported[kind]
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    served = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    text = ChatRenderer.load(str(SHIPPED)).render(MESSAGES[0])
    for seconds in SECONDS:
        inputs = processor(text=text, audio=[clip(seconds)], sampling_rate=RATE)
        pack = as_pack(model, inputs, served.config.audio_token_index)
        with torch.no_grad():
            ours = model.llm(inputs_embeds=model.eval().embed(pack), use_cache=False).logits
            theirs = served(**inputs, use_cache=False).logits
        torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
        answered = served.generate(**inputs, max_new_tokens=6, do_sample=False)
        wanted = answer(model, pack, max_tokens=6, stop_ids=[2])[0]
        found = answered[0, inputs["input_ids"].shape[1] :].tolist()
        assert [token for token in found if token != 2][: len(wanted)] == wanted


@pytest.mark.parametrize(
    ("kind", "dtype"), [("mlp", torch.bfloat16), ("layer_mix_qformer", torch.float16)]
)
def test_in_16_bits_the_logits_are_near_those_of_32(kind, dtype, exported, tmp_path):
    model, folder = exported[kind]
    export_model(model, tmp_path / "model", stop_ids=[2], dtype=str(dtype).removeprefix("torch."))
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert stored.keys() == load_file(folder / "model.safetensors").keys()
    assert {value.dtype for value in stored.values()} == {dtype}
    processor = AutoProcessor.from_pretrained(tmp_path / "model", trust_remote_code=True)
    inputs = processor(text="<|audio|>what is this?", audio=[clip(0.9)])
    found, wanted = (
        AutoModel.from_pretrained(path, trust_remote_code=True).eval()
        for path in (tmp_path / "model", folder)
    )
    assert (found.dtype, wanted.dtype) == (dtype, torch.float32)
    with torch.no_grad():
        logits, ours = (each(**inputs, use_cache=False).logits.float() for each in (found, wanted))
    furthest = (logits - ours).abs().max() / ours.abs().max()
    assert 0 < furthest < 0.05


def test_the_llm_of_an_export_is_one_of_transformers_by_itself(exported, tmp_path):
    model, folder = exported["window_qformer"]
    served = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    served.language_model.save_pretrained(tmp_path)
    llm = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    tokens = torch.arange(5, 12)[None]
    with torch.no_grad():
        ours = model.eval().llm(input_ids=tokens, use_cache=False).logits
        torch.testing.assert_close(llm(input_ids=tokens).logits, ours, atol=1e-4, rtol=1e-4)


def test_several_clips_and_prompts_go_side_by_side(exported):
    _, folder = exported["mlp"]
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    served = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    texts = ["<|audio|>which?", "say <|audio|> or <|audio|> again"]
    clips = [clip(seconds) for seconds in (0.5, 1.0, 2.5)]
    together = processor(text=texts, audio=clips)
    with torch.no_grad():
        batched = served(**together, use_cache=False).logits
        for row, (text, some) in enumerate(zip(texts, (clips[:1], clips[1:]), strict=True)):
            alone = served(**processor(text=text, audio=some), use_cache=False).logits
            torch.testing.assert_close(
                batched[row : row + 1, -alone.shape[1] :], alone, atol=1e-4, rtol=1e-4
            )


def test_an_mlp_is_exported_as_ultravox(exported):
    _, folder = exported["mlp"]
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["UltravoxModel"]
    assert config["model_type"] == "ultravox"
    assert (config["stack_factor"], config["hidden_size"]) == (8, 32)
    assert config["text_config"]["architectures"] == ["LlamaForCausalLM"]
    names = load_file(folder / "model.safetensors").keys()
    assert {
        "audio_tower.conv1.weight",
        "audio_tower.layers.0.self_attn.q_proj.weight",
        "multi_modal_projector.linear_2.weight",
        "language_model.model.layers.3.mlp.down_proj.weight",
    } <= names
    assert not any("lora" in name or "base_layer" in name for name in names)


def test_a_qformer_is_not_called_ultravox(exported):
    _, folder = exported["window_qformer"]
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["SpeechLMModel"]
    assert config["model_type"] == "sllm_speech"


def test_an_mlp_that_hears_padded_clips_is_not_called_ultravox(trained, tmp_path):
    # vLLM hears clips at their length; that the logits are the trainer's, the export has checked
    export_model(trained("mlp", pad_to_30s=True), tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["SpeechLMModel"]


def test_places_for_audio_and_clips_must_be_as_many(exported):
    _, folder = exported["mlp"]
    inputs = SpeechLMProcessor.from_pretrained(folder)(text="<|audio|>", audio=[clip(0.5)])
    served = UltravoxModel.from_pretrained(folder)
    short = inputs | {"input_ids": inputs["input_ids"][:, 1:]}
    with pytest.raises(ValueError, match=r"must have 4 places for this audio, got 3"):
        served(**short | {"attention_mask": None})


def test_lora_that_is_zero_is_not_exported(trained, tmp_path):
    model = trained("mlp")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "llm" in name and "lora_B" in name:
                value.zero_()
    with pytest.raises(ModelError, match="LoRA of language_model must not be zero"):
        export_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_fully_trained_model_keeps_its_weights(trained):
    model = trained("mlp", "full")
    weights = exported_weights(model, torch.float32)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(weights[f"language_model.{name}"], model.llm.state_dict()[name])


def test_a_folder_that_is_there_is_not_overwritten(trained, tmp_path):
    with pytest.raises(OutputError, match="must be a new folder, it is there"):
        export_model(trained("mlp"), tmp_path)


def test_marks_and_clips_must_be_as_many(exported):
    _, folder = exported["mlp"]
    processor = SpeechLMProcessor.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"a clip for each <\|audio\|> of the text, got 1"):
        processor(text="<|audio|> and <|audio|>", audio=[clip(0.5)])
    with pytest.raises(ValueError, match="1 clips have none"):
        processor(text="nothing", audio=[clip(0.5)])


def test_a_trained_chat_template_goes_with_the_model(trained, tmp_path):
    export_model(trained("mlp"), tmp_path / "model", chat_template="{{ messages[0].content }}")
    processor = SpeechLMProcessor.from_pretrained(tmp_path / "model")
    assert processor.tokenizer.chat_template == "{{ messages[0].content }}"
    assert processor.tokenizer.encode("<|audio|>", add_special_tokens=False) == [1836]
