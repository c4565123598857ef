import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_packs import CONNECTORS
from torch import Tensor
from transformers import LlamaConfig, WhisperConfig

from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.model.assembly import shape_of, taps_of
from sllm_data.trainer.model.config import ConnectorConfig
from sllm_data.trainer.model.connectors import new_connector, windows_of

WIDTH = 24
SCALE = 0.03
LENGTHS = st.lists(st.integers(min_value=1, max_value=120), min_size=1, max_size=5)


def taps(kind: str) -> int:
    return 4 if kind == "layer_mix_qformer" else 1


def make(config: ConnectorConfig):
    torch.manual_seed(0)
    shape = shape_of(
        config,
        WhisperConfig(d_model=WIDTH),
        LlamaConfig(hidden_size=32, num_attention_heads=4),
        taps=taps(config.kind),
    )
    return new_connector(shape, scale=SCALE)


def states(kind: str, length: int) -> Tensor:
    chance = torch.Generator().manual_seed(length)
    return torch.randn(taps(kind), length, WIDTH, generator=chance)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_it_gives_as_many_positions_as_geometry_counts(kind):
    config = CONNECTORS[kind]
    connector = make(config)
    geometry = AudioGeometry(window=config.window, queries=config.positions)

    @given(frames=LENGTHS)
    def check(frames):
        lengths = [geometry.num_encoded(count) for count in frames]
        with torch.no_grad():
            found = connector(states(kind, sum(lengths)), lengths)
        assert len(found) == sum(geometry.num_positions(count) for count in frames)

    check()


def test_three_seconds_are_nine_positions():
    connector = make(ConnectorConfig(hidden_size=16, heads=2))
    assert connector(states("window_qformer", 150), [150]).shape == (9, 32)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_a_clip_gives_the_same_in_a_pack_and_alone(kind):
    connector, lengths = make(CONNECTORS[kind]), [1, 17, 40, 8]
    packed = states(kind, sum(lengths))
    alone = [connector(clip, [clip.shape[1]]) for clip in packed.split(lengths, dim=1)]
    torch.testing.assert_close(connector(packed, lengths), torch.cat(alone))


@pytest.mark.parametrize("kind", CONNECTORS)
def test_a_short_last_window_does_not_hear_the_next_clip(kind):
    connector = make(CONNECTORS[kind])
    packed = states(kind, 40)
    louder = packed.clone()
    louder[:, 19:] *= 3
    count = connector(packed[:, :19], [19]).shape[0]
    before, after = (connector(side, [19, 21])[:count] for side in (packed, louder))
    assert torch.equal(before, after)


@pytest.mark.parametrize("kind", CONNECTORS)
def test_positions_begin_at_the_scale_of_the_llms_embeddings(kind):
    found = make(CONNECTORS[kind])(states(kind, 400), [400]).detach()
    assert float(found.square().mean().sqrt()) == pytest.approx(SCALE, rel=0.4)


def test_the_mlp_has_the_weights_of_ultravox():
    shapes = {
        name: tuple(value.shape) for name, value in make(CONNECTORS["mlp"]).named_parameters()
    }
    assert shapes == {
        "ln_pre.weight": (8 * WIDTH,),
        "linear_1.weight": (32, 8 * WIDTH),
        "ln_mid.weight": (16,),
        "linear_2.weight": (32, 16),
    }


@given(lengths=LENGTHS, window=st.integers(min_value=1, max_value=20))
def test_windows_hold_each_position_once_in_order(lengths, window):
    places, inside = windows_of(lengths, window)
    assert places[inside].tolist() == list(range(sum(lengths)))
    assert bool(inside[:, 0].all())


def test_taps_are_those_that_are_asked_for():
    config = ConnectorConfig(kind="layer_mix_qformer", taps=(2, 5))
    assert taps_of(config, 6) == (2, 5)
    with pytest.raises(ValueError, match=r"taps must be 1 to 4, got \[2, 5\]"):
        taps_of(config, 4)


def test_a_window_is_rounded_up_to_whole_positions():
    windows = [ConnectorConfig(window_seconds=s).window for s in (0.01, 0.3, 0.33, 0.333, 0.34)]
    assert windows == [1, 15, 17, 17, 17]
