"""Conversations to token ids: one renderer for generation, training, evaluation, inference.

Here: a model's own chat template, its tokenizer, and the wall between what a transcript says
and what the template's control tokens mean. Not here: what is asked (`prompting`), which
model to use, or anything that runs one.
"""

from sllm_data.chat.renderer import ChatRenderer
from sllm_data.chat.turns import AUDIO, Conversation, EncodedTurns

__all__ = ["AUDIO", "ChatRenderer", "Conversation", "EncodedTurns"]
