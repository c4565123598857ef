"""What is seen in a model: places, attention, losses, states."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sllm_data.errors import ShardError
from sllm_data.evaluation.asking import Asking, ask
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.probing.attention import attention_shares
from sllm_data.evaluation.probing.counterfactuals import AS_IT_IS, CHANGES, counterfactual_losses
from sllm_data.evaluation.probing.diagnosing import diagnose, map_plot
from sllm_data.evaluation.probing.rows import (
    chosen_probes,
    instruction_of,
    is_plain,
    open_probe,
    with_instruction,
)
from sllm_data.evaluation.probing.states import paired_states
from sllm_data.evaluation.rows import chosen_rows
from sllm_data.records import Turn
from sllm_data.trainer.data.pages import Clips
from tests.evaluation.eval_dataset import INSTRUCTIONS

BOOTSTRAP = BootstrapConfig(resamples=100)


@pytest.fixture(scope="module")
def clips(dataset):
    opened = Clips(dataset)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def rows(dataset):
    return chosen_rows(dataset, split="test", limit=None)[0]


@pytest.fixture(scope="module")
def probes(trained, rows, clips):
    return chosen_probes(trained, rows, clips, per_task=4)


def _shown(trained, probe, side, part):
    encoded = probe.forced.row.text if side == "speech" else probe.forced.row.twin
    places = getattr(getattr(probe, side), part)
    return trained.renderer.decode(encoded.token_ids[places].tolist()).strip()


def test_the_places_of_a_row_hold_instruction_transcript_and_answer(trained, probes):
    for probe in probes:
        read, heard = INSTRUCTIONS[probe.row.task]
        assert _shown(trained, probe, "speech", "instruction") == heard
        assert _shown(trained, probe, "text", "instruction") == read
        assert _shown(trained, probe, "text", "content") == probe.row.extra["transcript"]
        assert np.array_equal(probe.speech.content, probe.forced.row.text.audio_positions)


def test_the_order_of_instruction_and_speech_does_not_matter(trained, probes, clips):
    row = probes[0].row
    text, audio = row.turns[0].content
    read, _ = INSTRUCTIONS[row.task]
    spans = (audio, replace(text, text=f"\n\n{text.text.strip()}"))
    (question, answer) = row.text_messages
    turned = replace(
        row,
        turns=(Turn(role="user", content=spans), row.turns[1]),
        text_messages=(
            replace(question, content=f"{row.extra['transcript']}\n\n{read}"),
            answer,
        ),
    )
    probe = open_probe(trained, turned, clips)
    assert _shown(trained, probe, "text", "instruction") == read
    assert _shown(trained, probe, "speech", "instruction") == INSTRUCTIONS[row.task][1]
    assert probe.speech.content.max() < probe.speech.instruction.min()


def test_rows_that_are_no_single_question_are_passed_over(rows, trained, clips):
    row = rows[0]
    text, audio = row.turns[0].content
    twice = Turn(role="user", content=(text, audio, audio))
    assert is_plain(row)
    assert not is_plain(replace(row, turns=(twice, row.turns[1])))
    assert not is_plain(replace(row, turns=(row.turns[0],) * 3))
    with pytest.raises(ShardError, match="diagnostics need rows of one question about one clip"):
        chosen_probes(trained, [replace(row, turns=(twice, row.turns[1]))], clips, per_task=1)


def test_another_instruction_keeps_speech_and_spacing(rows):
    changed = with_instruction(rows[0], "Say it again.")
    assert instruction_of(changed) == "Say it again."
    assert changed.turns[0].content[0].text == "Say it again.\n\n"
    assert changed.turns[0].content[1] == rows[0].turns[0].content[1]


@pytest.fixture
def blind(new_trained):
    """A model whose LLM attends to all that came before alike, and takes nothing from it."""
    found = new_trained("frozen")
    with torch.no_grad():
        for name, value in found.model.llm.named_parameters():
            if "q_proj" in name or "v_proj" in name:
                value.zero_()
    return found


@pytest.mark.parametrize("hears", [True, False])
def test_attention_that_is_even_is_shared_by_the_number_of_places(blind, probes, hears):
    probe = probes[0]
    side = probe.speech if hears else probe.text
    found = attention_shares(blind.model, [probe], hears=hears)
    expected = [
        np.mean([len(each) / (at + 1) for at in side.answer])
        for each in (side.instruction, side.content)
    ]
    assert found.instruction == pytest.approx(np.full(4, expected[0]), rel=1e-4)
    assert found.content == pytest.approx(np.full(4, expected[1]), rel=1e-4)
    assert found.share == pytest.approx(np.full(4, expected[0] / sum(expected)), rel=1e-4)
    assert found.share_by_length == pytest.approx(np.full(4, 0.5), rel=1e-4)
    assert found.saliency_share == pytest.approx(np.full(4, 0.5))  # it moves nothing


def test_sinks_are_no_part_of_a_share(trained, probes):
    found = attention_shares(trained.model, probes[:3], hears=True)
    total = found.instruction + found.content + found.sink
    assert (found.sink > 0).all()
    assert (total < 1).all()  # the rest is the template and the answer itself


def test_a_model_is_what_it_was_after_it_was_looked_into(trained, probes, dataset):
    asking = Asking(dataset=dataset, limit=1, max_tokens=6)
    before, *_ = ask(trained, asking, name="")
    found = diagnose(trained, probes[2:5], BOOTSTRAP)
    after, *_ = ask(trained, asking, name="")
    assert before == after
    assert found.rows == 3


def test_the_loss_as_it_is_is_that_of_the_predictions(trained, probes, dataset):
    answers, *_ = ask(trained, Asking(dataset=dataset, sides=("speech",), max_tokens=1), name="")
    wanted = {each.sample_id: each for each in answers}
    probes = probes[2:6]
    chosen = [wanted[probe.row.sample_id] for probe in probes]
    losses = counterfactual_losses(trained, probes, BOOTSTRAP)
    assert list(losses) == list(CHANGES)
    assert losses[AS_IT_IS].value == pytest.approx(
        sum(each.nll for each in chosen) / sum(each.nll_tokens for each in chosen), rel=1e-4
    )


def test_what_a_change_adds_is_what_the_changed_row_costs_more(trained, probes):
    probes = probes[2:6]
    silent = [
        replace(probe, forced=CHANGES["silence"](trained, probes, place))
        for place, probe in enumerate(probes)
    ]
    here = counterfactual_losses(trained, probes, BOOTSTRAP)
    there = counterfactual_losses(trained, silent, BOOTSTRAP)
    assert here["silence"].value == pytest.approx(
        there[AS_IT_IS].value - here[AS_IT_IS].value, rel=1e-4
    )
    assert there["silence"].value == pytest.approx(0, abs=1e-5)


def test_an_other_instruction_is_of_another_task_and_other_speech_of_another_clip(trained, probes):
    for place in (0, len(probes) - 1):
        swapped = CHANGES["other instruction"](trained, probes, place)
        shown = trained.renderer.decode(swapped.row.text.token_ids.tolist())
        others = {INSTRUCTIONS[t][1] for t in INSTRUCTIONS if t != probes[place].row.task}
        assert any(other in shown for other in others)
        heard = CHANGES["other speech"](trained, probes, place)
        assert [len(f) for f in heard.features] != [len(f) for f in probes[place].forced.features]
        bare = CHANGES["no instruction"](trained, probes, place)
        assert len(bare.row.text) < len(probes[place].forced.row.text)


def test_a_change_for_which_there_is_nothing_else_is_left_out(trained, probes):
    alone = counterfactual_losses(trained, probes[:1], BOOTSTRAP)
    assert list(alone) == [AS_IT_IS, "no instruction", "silence"]


def test_states_are_compared_clip_by_clip(trained, probes):
    found = paired_states(trained.model, probes)
    assert [each.shape[0] for each in found.speech] == [4] * 5
    assert all(value is not None and value <= 1.001 for value in found.similarity())
    same = replace(found, speech=found.text)
    assert same.similarity() == pytest.approx([1.0] * 5)
    assert found.map(0, seed=0) is None


def test_what_was_seen_is_json_and_pictures(trained, probes):
    found = diagnose(trained, [*probes[:4], probes[4]], BOOTSTRAP)  # four clips, two tasks
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert set(document["attention"]) == {"speech", "text", "backbone"}
    assert len(document["attention"]["speech"]["share"]) == 4
    assert len(document["cka"]) == 5
    assert set(found.plots) == {"attention", "counterfactuals", "cka"}


def test_speech_and_text_of_enough_clips_stand_on_one_map(trained, probes):
    few = paired_states(trained.model, probes[:4])
    moved = np.random.default_rng(0).normal(size=(12, 1))
    many = replace(
        few,
        speech=tuple(np.tile(states, (3, 1)) + moved for states in few.speech),
        text=tuple(np.tile(states, (3, 1)) - moved for states in few.text),
    )
    speech, text = many.map(2, seed=0)
    assert speech.shape == text.shape == (12, 2)
    assert map_plot(many, seed=0).startswith(b"\x89PNG")
