"""A trained model as a folder that transformers loads, and vLLM where the connector is an mlp.

    config.json, model.safetensors            encoder, connector and LLM; LoRA is in the LLM
    hf_*.py, connectors.py                    what AutoModel and AutoProcessor run
    tokenizer.json, chat_template.jinja, ...  the LLM's, with <|audio|> as one token
    preprocessor_config.json, processor_config.json

It is written beside and renamed, after it was loaded once and its logits compared.

vLLM pads clips that it hears together, and does not mask what its encoder makes of the padding:
there the last position of a clip depends a little on its neighbours, here it does not.
"""

import json
import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import WhisperFeatureExtractor

from sllm_data.chat.loading import load_tokenizer, locate
from sllm_data.errors import ModelError, OutputError
from sllm_data.trainer.model.assembly import shape_of
from sllm_data.trainer.model.hf_modeling import SpeechLMModel, UltravoxModel
from sllm_data.trainer.model.hf_processing import AUDIO_TOKEN
from sllm_data.trainer.model.lora import lora_layers
from sllm_data.trainer.model.speech_lm import SpeechLM

_CODE = ("connectors.py", "hf_configuration.py", "hf_modeling.py", "hf_processing.py")
_ULTRAVOX = {
    "stack_factor": 8,
    "norm_init": 0.4,
    "projector_act": "swiglu",
    "projector_ln_mid": True,
    "num_projector_layers": 0,
    "ignore_index": -100,
}
_TOLERANCE = {torch.float32: 1e-3}  # of logits, by the largest; else that of 16 bits:
_TOLERANCE_16 = 0.1
_FRAMES, _TOKENS = 301, 5  # of what is compared


def export_model(
    model: SpeechLM,
    folder: Path,
    *,
    chat_template: str | None = None,
    stop_ids: Collection[int] = (),
    dtype: str = "",
) -> None:
    """Writes a model's folder.

    Args:
        model: A trained one; it is not changed.
        folder: Must not be there yet.
        chat_template: What the model was trained with, where it is not the LLM's own.
        stop_ids: Tokens that end an answer.
        dtype: Of the weights: float32, bfloat16 or float16; else what the model computes in.

    Raises:
        OutputError: The folder is there.
        ModelError: LoRA was never trained, the LLM's tokenizer can't be found, or what was
            written does not give the logits of the model.
    """
    if folder.exists():
        raise OutputError(
            f"{folder}: must be a new folder, it is there; choose another or move it"
        )
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    written_in = getattr(torch, dtype) if dtype else model.dtype
    save_torch_state_dict(exported_weights(model, written_in), unfinished)
    audio_id = _write_tokenizer(model, unfinished, chat_template)
    _write_configs(model, unfinished, audio_id=audio_id, stop_ids=stop_ids, dtype=written_in)
    for name in _CODE:
        shutil.copyfile(Path(__file__).with_name(name), unfinished / name)
    _compare(model, unfinished, written_in)
    unfinished.rename(folder)


def exported_weights(model: SpeechLM, dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns all weights on the CPU under the names of vLLM's UltravoxModel.

    LoRA is added to what it updates, in float32.

    Raises:
        ModelError: LoRA is zero: nothing was trained, or it was not loaded.
    """
    weights = {}
    parts = {
        "audio_tower": model.encoder.whisper,
        "multi_modal_projector": model.connector,
        "language_model": model.llm,
    }
    for prefix, part in parts.items():
        merged = _merged(part, prefix)
        seen: set[int] = set()
        for name, value in part.state_dict(keep_vars=True).items():
            if "lora_" in name or id(value) in seen:  # the second of tied weights
                continue
            seen.add(id(value))
            plain = name.replace(".base_layer.", ".")
            full = merged.get(plain, value.detach())
            weights[f"{prefix}.{plain}"] = full.to("cpu", dtype).contiguous()
    return weights


def _merged(part: torch.nn.Module, prefix: str) -> dict[str, Tensor]:
    names = {module: name for name, module in part.named_modules()}
    merged, largest = {}, 0.0
    for layer in lora_layers(part):
        update = layer.get_delta_weight("default").detach().float()
        largest = max(largest, float(update.abs().max()))
        merged[f"{names[layer]}.weight"] = layer.base_layer.weight.detach().float() + update
    if merged and not largest:
        raise ModelError(
            f"LoRA of {prefix} must not be zero in what is exported, it is: the model was not "
            "trained, or its weights were not loaded"
        )
    return merged


def _write_tokenizer(model: SpeechLM, folder: Path, chat_template: str | None) -> int:
    name = model.config.llm.model
    found, _ = locate(name, revision=model.config.llm.revision)
    tokenizer = load_tokenizer(found, model=name)
    tokenizer.add_tokens([AUDIO_TOKEN], special_tokens=True)
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    audio_id: int = tokenizer.convert_tokens_to_ids(AUDIO_TOKEN)
    return audio_id


def _write_configs(
    model: SpeechLM,
    folder: Path,
    *,
    audio_id: int,
    stop_ids: Collection[int],
    dtype: torch.dtype,
) -> None:
    whisper, llm = model.encoder.whisper.config, model.llm.config
    connector = model.config.connector
    is_ultravox = _is_ultravox(model)
    prefix = "Ultravox" if is_ultravox else "SpeechLM"
    shape = shape_of(connector, whisper, llm, taps=len(model.encoder.taps))
    written_in = str(dtype).removeprefix("torch.")
    config = {
        "architectures": [f"{prefix}Model"],
        "model_type": "ultravox" if is_ultravox else "sllm_speech",
        "auto_map": {
            "AutoConfig": f"hf_configuration.{prefix}Config",
            "AutoModel": f"hf_modeling.{prefix}Model",
            "AutoModelForCausalLM": f"hf_modeling.{prefix}Model",
        },
        "audio_config": _fields(whisper, written_in),
        "text_config": _fields(llm, written_in) | {"architectures": [type(model.llm).__name__]},
        "audio_token_index": audio_id,
        "vocab_size": llm.vocab_size,
        "connector": asdict(shape),
        "taps": list(model.encoder.taps),
        "max_frames": model.geometry.max_frames,
        "pad_to_30s": model.encoder.pad_to_30s,
        "dtype": written_in,
        "tie_word_embeddings": llm.tie_word_embeddings,
    }
    if is_ultravox:
        config |= _ULTRAVOX
        config |= {"hidden_size": connector.hidden_size, "stack_factor": connector.window}
    processor = {
        "processor_class": "SpeechLMProcessor",
        "auto_map": {"AutoProcessor": "hf_processing.SpeechLMProcessor"},
        "max_frames": model.geometry.max_frames,
        "window": connector.window,
        "queries": connector.positions,
    }
    ends = sorted(stop_ids) or model.llm.generation_config.eos_token_id
    _write_json(folder / "config.json", config)
    _write_json(folder / "processor_config.json", processor)
    _write_json(folder / "generation_config.json", {"eos_token_id": ends})
    WhisperFeatureExtractor(feature_size=whisper.num_mel_bins).save_pretrained(folder)


def _is_ultravox(model: SpeechLM) -> bool:
    return model.config.connector.kind == "mlp" and not model.encoder.pad_to_30s


def _fields(config: Any, dtype: str) -> dict[str, Any]:  # Any: a configuration of transformers
    fields: dict[str, Any] = config.to_dict()
    fields.pop("ctc_words", None)  # of the testbed's encoder; thousands in larger ones
    return fields | {"dtype": dtype}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _compare(model: SpeechLM, folder: Path, dtype: torch.dtype) -> None:
    """Loads what was written and compares its logits with those of the model.

    Raises:
        ModelError: They differ.
    """
    kind = UltravoxModel if _is_ultravox(model) else SpeechLMModel
    written = kind.from_pretrained(folder, dtype=dtype).eval().to(model.device)
    chance = torch.Generator().manual_seed(0)
    clip = torch.randn(_FRAMES, model.encoder.num_mels, generator=chance).to(model.device)
    words = torch.arange(_TOKENS, device=model.device)
    training = model.training
    model.eval()
    with torch.no_grad(), model.autocast():
        embeds = model.llm.get_input_embeddings()(words)
        ours = torch.cat([embeds, model.hear(clip, [_FRAMES]).to(embeds.dtype)])[None]
        found = model.llm(inputs_embeds=ours, use_cache=False).logits.float()
    model.train(training)
    chunks = model.geometry.chunks(_FRAMES)
    values = torch.zeros(len(chunks), clip.shape[1], max(chunks), device=model.device)
    for number, chunk in enumerate(clip.split(chunks)):
        values[number, :, : len(chunk)] = chunk.T
    audio = torch.full((ours.shape[1] - _TOKENS,), written.config.audio_token_index)
    with torch.no_grad():
        theirs = written(
            input_ids=torch.cat([words, audio.to(words)])[None],
            audio_values=values,
            audio_lens=torch.tensor(chunks),
            audio_num_chunks=torch.tensor([len(chunks)]),
            use_cache=False,
        ).logits.float()
    furthest = float((found - theirs).abs().max() / found.abs().max())
    if not furthest <= _TOLERANCE.get(dtype, _TOLERANCE_16):
        raise ModelError(
            f"{folder}: must give the logits of the trained model, they differ by {furthest:.2g} "
            "of the largest; the folder is left for inspection"
        )
