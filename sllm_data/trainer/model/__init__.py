"""The speech LLM: what hears, what carries it over, what reads and answers.

    config        which models, what of them is trained, which losses
    attention     attention that stays inside each conversation or clip of a pack
    encoder       Whisper's encoder at the true length of every clip
    connectors    positions of the encoder -> positions of the LLM, as geometry counts them
    llm, lora     the language model: body, logits, low-rank updates
    assembly      what is fresh and what is trained
    speech_lm     the whole: embeddings, states, logits at labels only
    losses        cross-entropy, response KL, alignment of hidden states
    answering     batched generation

It takes a PackedBatch and knows nothing of rows, files of a dataset, or training steps.
"""
