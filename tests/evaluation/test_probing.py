"""What is seen in a model: places, attention, losses, states."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface

from sllm_data.errors import ShardError
from sllm_data.evaluation.asking import Asking, ask
from sllm_data.evaluation.attended import attention_shares
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.diagnostics import diagnostics_of, map_plot
from sllm_data.evaluation.forced import AS_IT_IS, added_losses
from sllm_data.evaluation.probing.attention import Looked, attend, attended, look
from sllm_data.evaluation.probing.counterfactuals import CHANGES, counterfactual_losses
from sllm_data.evaluation.probing.diagnosing import diagnose
from sllm_data.evaluation.probing.rows import (
    Side,
    chosen_probes,
    instruction_of,
    is_plain,
    open_probe,
    with_instruction,
)
from sllm_data.evaluation.probing.states import paired_states
from sllm_data.evaluation.rows import chosen_rows
from sllm_data.records import Turn
from sllm_data.trainer.data.conversation import prompts_batch
from sllm_data.trainer.data.pages import Clips
from sllm_data.trainer.model.llm import to_logits
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


@pytest.mark.parametrize("name", ["speech", "text"])
def test_attention_that_is_even_is_shared_by_the_number_of_places(blind, probes, name):
    probe = probes[0]
    side = getattr(probe, name)
    found = attention_shares(attend(blind.model, [probe], side=name))[name]
    expected = [
        np.mean([len(each) / (at + 1) for at in side.answer])
        for each in (side.instruction, side.content)
    ]
    assert found.instruction == pytest.approx(np.full(4, expected[0]), rel=1e-4)
    assert found.content == pytest.approx(np.full(4, expected[1]), rel=1e-4)
    assert found.share == pytest.approx(np.full(4, expected[0] / sum(expected)), rel=1e-4)
    assert found.share_by_length == pytest.approx(np.full(4, 0.5), rel=1e-4)
    assert found.saliency_share == pytest.approx(np.full(4, 0.5))  # it moves nothing


def test_shares_of_attention_that_is_made_by_hand_leave_sinks_out():
    places = Side(instruction=np.array([1, 2]), content=np.array([3, 4, 5]), answer=np.array([6]))
    looked = Looked(
        weights=np.array([[0.4, 0.1, 0.1, 0.2, 0.05, 0.05, 0.1]] * 2),
        saliency=np.array([[9.0, 1, 2, 3, 4, 5, 9]] * 2),
        # ten times the median is none yet; in the second layer the fourth place is one
        lengths=np.array([[1.0, 1, 1, 10, 1, 1, 1], [1, 1, 1, 10.1, 1, 1, 1]]),
    )
    row = attended(looked, places, row="a", side="text")
    assert (row.instruction_places, row.content_places) == ((2, 2), (3, 2))
    found = attention_shares([row])["text"]
    assert found.instruction == pytest.approx([0.2, 0.2])
    assert found.content == pytest.approx([0.3, 0.1])
    assert found.sink == pytest.approx([0.4, 0.6])
    assert found.share == pytest.approx([0.4, 2 / 3])
    assert found.share_by_length == pytest.approx([0.5, 2 / 3])
    assert found.saliency_share == pytest.approx([3 / 15, 3 / 12])


def test_saliency_is_how_the_loss_moves_with_the_attention_on_a_place(new_trained, probes):
    model = new_trained("frozen").model
    batch = prompts_batch([probes[0].forced])
    assert batch.twin is not None
    at = int(batch.twin.label_positions[2])
    text = replace(batch.twin, label_positions=torch.tensor([at]), labels=torch.tensor([100]))
    places, gate = torch.arange(len(text.token_ids)), {}

    def gated(module, query, key, value, _mask, *, scaling, **_):
        scores = query @ key.transpose(2, 3) * scaling
        weights = scores.masked_fill(places > places[:, None], -torch.inf).softmax(dim=-1)
        if module.layer_idx in gate:
            place, factor = gate[module.layer_idx]
            weights[:, :, at, place] *= factor
        return (weights @ value).transpose(1, 2), weights

    def loss(layer: int, place: int, factor: float) -> float:
        gate.clear()
        gate[layer] = place, factor
        with torch.no_grad():
            embeds = model.llm.get_input_embeddings()(text.token_ids)[None]
            states = model.llm.base_model(inputs_embeds=embeds).last_hidden_state[0, at]
            return float(cross_entropy(to_logits(model.llm, states), text.labels[0]))

    model.llm.set_attn_implementation("eager")
    found = look(model, replace(batch, twin=text), hears=False).saliency
    AttentionInterface.register("gated", gated)
    model.llm.set_attn_implementation("gated")
    for layer, saliency in enumerate(found):
        for place in np.argsort(saliency)[-3:]:
            moved = (loss(layer, place, 1.01) - loss(layer, place, 0.99)) / 0.02
            assert saliency[place] == pytest.approx(abs(moved), rel=0.02), (layer, place)


def test_sinks_are_no_part_of_a_share(trained, probes):
    found = attention_shares(attend(trained.model, probes[:3], side="speech"))["speech"]
    total = found.instruction + found.content + found.sink
    assert (found.sink > 0).all()
    assert (total < 1).all()  # the rest is the template and the answer itself


def test_a_model_is_what_it_was_after_it_was_looked_into(trained, probes, dataset):
    asking = Asking(dataset=dataset, limit=1, max_tokens=6)
    before, *_ = ask(trained, asking, name="")
    diagnose(trained, probes[2:5])
    after, *_ = ask(trained, asking, name="")
    assert before == after


def _added(trained, probes):
    return added_losses(counterfactual_losses(trained, probes), BOOTSTRAP)


def test_the_loss_as_it_is_is_that_of_the_predictions(trained, probes, dataset):
    answers, *_ = ask(trained, Asking(dataset=dataset, sides=("speech",), max_tokens=1), name="")
    wanted = {each.sample_id: each for each in answers}
    probes = probes[2:6]
    chosen = [wanted[probe.row.sample_id] for probe in probes]
    losses = _added(trained, probes)
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
    here = _added(trained, probes)
    there = _added(trained, silent)
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
    alone = _added(trained, probes[:1])
    assert list(alone) == [AS_IT_IS, "no instruction", "silence"]


def test_states_are_compared_clip_by_clip(trained, probes):
    found = paired_states(trained.model, probes)
    assert [each.shape[0] for each in found.speech] == [4] * 5
    assert all(value is not None and value <= 1.001 for value in found.similarity())
    same = replace(found, speech=found.text)
    assert same.similarity() == pytest.approx([1.0] * 5)
    assert found.map(0, seed=0) is None


def test_what_was_seen_is_json_and_pictures(trained, probes):
    seen = diagnose(trained, [*probes[:4], probes[4]])  # four clips, two tasks
    found = diagnostics_of(seen.attended, seen.states, seed=0)
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert set(document["attention"]) == {"speech", "text", "backbone"}
    assert len(document["attention"]["speech"]["share"]) == 4
    assert len(document["cka"]) == 5
    assert set(found.plots) == {"attention", "cka"}


def test_speech_and_text_of_enough_clips_stand_on_one_map(trained, probes):
    few = paired_states(trained.model, probes[:4])
    moved = np.random.default_rng(0).normal(size=(12, 1)).astype(np.float32)
    many = replace(
        few,
        rows=tuple(map(str, range(12))),
        speech=np.tile(few.speech, (1, 3, 1)) + moved,
        text=np.tile(few.text, (1, 3, 1)) - moved,
    )
    speech, text = many.map(2, seed=0)
    assert speech.shape == text.shape == (12, 2)
    assert map_plot(many, seed=0).startswith(b"\x89PNG")
