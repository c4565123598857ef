"""Asks stock vLLM, in a process of its own, about clips and about prompts that are embeddings.

Arguments: an exported mlp model, questions (.npz), the LLM of another export, prompts for it
(.pt), and where the answers to both go (.json).
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


_ENGINE = {"dtype": "float32", "enforce_eager": True, "max_model_len": 512, "max_num_seqs": 1}


def main(folder: str, questions: str, llm: str, embeds: str, answers: str) -> None:
    os.environ.update(_ENVIRONMENT)
    import torch
    from vllm import LLM, SamplingParams

    greedy = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, detokenize=False)
    engine = LLM(
        folder,
        trust_remote_code=True,
        limit_mm_per_prompt={"audio": 2},
        mm_processor_cache_gb=0,
        **_ENGINE,
    )
    heard = []
    with np.load(questions) as asked:
        text = str(asked["text"])
        for name in sorted(set(asked.files) - {"text"}):
            prompt = {"prompt": text, "multi_modal_data": {"audio": [(asked[name], 16_000)]}}
            output = engine.generate(prompt, greedy, use_tqdm=False)[0]
            heard.append([len(output.prompt_token_ids), *output.outputs[0].token_ids])
    del engine
    prompts = [{"prompt_embeds": each} for each in torch.load(embeds)]
    engine = LLM(llm, enable_prompt_embeds=True, **_ENGINE)
    read = [
        list(output.outputs[0].token_ids)
        for output in engine.generate(prompts, greedy, use_tqdm=False)
    ]
    Path(answers).write_text(json.dumps({"heard": heard, "read": read}))


if __name__ == "__main__":
    main(*sys.argv[1:])
