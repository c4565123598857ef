"""Judges in place of a model, for the scripted engine."""

import re

from sllm_data.records import Request


def by_length(request: Request) -> str:
    """Five for one word, one less for each more; no number where that would be below one."""
    prompt = request.messages[-1].content
    answer = re.search(r"Response:\n(.*)\n\nAnswer with one digit", prompt, re.DOTALL)[1]
    score = 6 - len(answer.split())
    return f"Score: {score}" if score > 0 else "I can't say"
