"""Asks stock vLLM, in a process of its own, about clips and about prompts that are embeddings.

Each is asked alone first; then all are asked at once, twice over, so that some wait for a place.

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


_ENGINE = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_model_len": 512,
    "max_num_seqs": 4,
    "enable_prefix_caching": False,  # else what was computed for one alone would serve the batch
}


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

    def ask(prompts: list[dict]) -> list[list[int]]:
        return [
            [len(output.prompt_token_ids or ()), *output.outputs[0].token_ids]
            for output in engine.generate(prompts, greedy, use_tqdm=False)
        ]

    found = {}
    with np.load(questions) as asked:
        text = str(asked["text"])
        prompts = [
            {"prompt": text, "multi_modal_data": {"audio": [(asked[name], 16_000)]}}
            for name in sorted(set(asked.files) - {"text"})
        ]
    found["heard"] = [answer for prompt in prompts for answer in ask([prompt])]
    found["heard at once"] = ask([*prompts, *prompts])
    del engine
    prompts = [{"prompt_embeds": each} for each in torch.load(embeds)]
    engine = LLM(llm, enable_prompt_embeds=True, **_ENGINE)
    found["read"] = [answer for prompt in prompts for answer in ask([prompt])]
    found["read at once"] = ask([*prompts, *prompts])
    Path(answers).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
