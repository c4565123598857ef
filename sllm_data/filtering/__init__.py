"""Verdicts on responses: what a response is worth, and whether it becomes a sample.

`verdicts.judge_response` is the door. Nothing here reads or writes files or asks a backbone;
the judge's answer comes in as a score.
"""
