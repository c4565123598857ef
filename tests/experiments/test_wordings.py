"""The wordings that the study of diversity adds to those of the small world."""

from collections import Counter
from dataclasses import replace
from importlib import resources

import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

import sllm_data
from sllm_data.files import shipped_folder
from sllm_data.prompting.languages import language_name
from sllm_data.prompting.pools import load_pools
from sllm_data.steps.testbed import INSTRUCTIONS, MARENIC, shipped_course
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.backbone_training import answers

PACKAGE = resources.files(sllm_data)


def test_the_backbone_answers_wordings_that_it_was_never_told():
    """Both sides of each: what it reads, and what a speech LLM reads beside the audio."""
    more = yaml.safe_load((PACKAGE / "experiments/wordings.yaml").read_text("utf-8"))
    recipe = yaml.safe_load((PACKAGE / "recipes/testbed.yaml").read_text("utf-8"))
    trained = {
        task for task, how in recipe["tasks"].items() if how["weight"] and not how.get("held_out")
    }
    assert more["instructions"].keys() == trained
    course, pools = shipped_course(), load_pools((shipped_folder("instruction_pools"),))
    language = language_name(MARENIC, INSTRUCTIONS)
    lessons = []
    for task, wordings in more["instructions"].items():
        assert len(wordings) == 2
        told = pools.get(task, INSTRUCTIONS).instructions
        texts = [wording[side] for wording in wordings for side in ("text", "audio")]
        assert not {*texts} & {text for each in told for text in (each.text, each.audio)}
        for text in texts:
            asked = (text.replace("{{ target_language }}", language),)
            only = replace(course, wordings={**course.wordings, task: asked})
            exam = only.exam(seed=5, per_task=10)
            lessons += [lesson for lesson in exam if lesson.task == task]
    folder = shipped("backbone")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    said = answers(model, AutoTokenizer.from_pretrained(folder), lessons)
    wrong = Counter(
        lesson.prompt for lesson, text in zip(lessons, said, strict=True) if text != lesson.answer
    )
    assert len(lessons) == 12 * 4 * 10
    assert wrong.total() < 0.02 * len(lessons), wrong
