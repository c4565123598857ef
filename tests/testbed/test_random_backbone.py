import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sllm_data.testbed import sentences, write_random_backbone

CONVERSATION = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "Summarise: the soup was wonderful. 😀"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("backbone")
    write_random_backbone(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder)


def prompt_of(tokenizer, text: str) -> torch.Tensor:
    conversation = [CONVERSATION[0], {"role": "user", "content": text}]
    encoded = tokenizer.apply_chat_template(
        conversation, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    return encoded["input_ids"]


def test_the_same_seed_gives_the_same_files(folder, tmp_path):
    torch.manual_seed(123)  # nothing outside may matter
    write_random_backbone(tmp_path)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        contents = [(each / name).read_bytes() for each in (folder, tmp_path)]
        assert len({hashlib.sha256(content).digest() for content in contents}) == 1, name


def test_the_callers_random_state_stays(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    write_random_backbone(tmp_path, seed=1)
    assert torch.equal(torch.rand(3), wanted)


def test_the_chat_template_places_system_and_user_turns(tokenizer):
    text = tokenizer.apply_chat_template(CONVERSATION, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|begin|><|turn|>system\nYou are kind.<|end|>"
        "<|turn|>user\nSummarise: the soup was wonderful. 😀<|end|><|turn|>assistant\n"
    )


@pytest.mark.parametrize("text", ["Größe, 日本語 und 😀", "a\tb\n\n c", "\x00\x7f"])
def test_any_text_goes_through_the_tokenizer_unchanged(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_frequent_words_are_one_token(tokenizer):
    assert len(tokenizer.tokenize("the old farmer found ten red apples")) <= 9


def test_control_tokens_end_and_pad_are_named(folder, tokenizer):
    config = json.loads((folder / "generation_config.json").read_text())
    assert config["eos_token_id"] == tokenizer.eos_token_id == tokenizer.encode("<|end|>")[0]
    assert tokenizer.encode("<|turn|>") == [tokenizer.convert_tokens_to_ids("<|turn|>")]


def test_answers_are_made_of_words_and_most_of_them_end(model, tokenizer):
    torch.manual_seed(0)
    prompt = prompt_of(tokenizer, "Summarise: the soup was wonderful.").repeat(16, 1)
    answers = model.generate(prompt, max_new_tokens=48, do_sample=True, top_k=0)
    answers = answers[:, prompt.shape[1] :]
    ended = (answers == tokenizer.eos_token_id).any(dim=1)
    lengths = (answers != tokenizer.pad_token_id).sum(dim=1).float()
    assert 0.5 < ended.float().mean() < 1
    assert 6 < lengths.mean() < 50
    letters = tokenizer.decode(answers.flatten(), skip_special_tokens=True)
    assert sum(c.isalpha() or c.isspace() for c in letters) > 0.8 * len(letters)


def test_the_prompt_moves_the_logits(model, tokenizer):
    with torch.no_grad():
        one, other = (
            model(prompt_of(tokenizer, text)).logits[0, -1] for text in sentences("en", 2, seed=9)
        )
    assert (one - other).abs().max() > 0.1
