"""Asks stock vLLM, in a process of its own: folder, questions (.npz), answers (.json)."""

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


def main(folder: str, questions: str, answers: str) -> None:
    os.environ.update(_ENVIRONMENT)
    from vllm import LLM, SamplingParams

    engine = LLM(
        folder,
        trust_remote_code=True,
        dtype="float32",
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=1,
        limit_mm_per_prompt={"audio": 2},
        mm_processor_cache_gb=0,
    )
    greedy = SamplingParams(temperature=0, max_tokens=8, ignore_eos=True, detokenize=False)
    found = []
    with np.load(questions) as asked:
        text = str(asked["text"])
        for name in sorted(set(asked.files) - {"text"}):
            prompt = {"prompt": text, "multi_modal_data": {"audio": [(asked[name], 16_000)]}}
            output = engine.generate(prompt, greedy, use_tqdm=False)[0]
            found.append([len(output.prompt_token_ids), *output.outputs[0].token_ids])
    Path(answers).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
