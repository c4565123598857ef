"""Looks into a trained model on a few rows: what it attends to, needs, and takes for the same.

rows             a row with the places of its instruction and of its content, on both sides
attention        what instruction and content get by layer: mass and saliency
counterfactuals  the loss of the reference when instruction or speech are other ones
states           speech and text by layer
diagnosing       all of them, as they are saved; `evaluation.diagnostics` makes figures of that
"""
