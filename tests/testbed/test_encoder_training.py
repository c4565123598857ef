import hashlib
from dataclasses import replace
from itertools import islice

import pytest
import torch

from sllm_data.errors import RejectedError
from sllm_data.testbed.encoder import EncoderSize, load_encoder
from sllm_data.testbed.encoder_speech import THROATS, batches
from sllm_data.testbed.encoder_training import EncoderTraining, train_encoder
from sllm_data.testbed.events import half_of
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES

TINY = EncoderTraining(
    size=EncoderSize(hidden=32, layers=1, heads=2, feed_forward=64),
    steps=6,
    batch_frames=600,
    hard=(0.5,),
    exam_texts=4,
    required_seen=100,  # more is heard than was said
    required_unseen=100,
)
LONGEST_TURN = 6  # words in a turn of a dialogue


def drawn(count, *, seed=1, hard=0.0, max_frames=600):
    speech = batches(WORLD_VOICES, seed=seed, max_frames=max_frames, hard=hard)
    return list(islice(speech, count))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, steps = tmp_path_factory.mktemp("encoder"), []
    figures = train_encoder(
        folder, TINY, minutes=5, report=lambda number, note: steps.append((number, note))
    )
    return folder, figures, steps


def test_training_goes_through_all_steps_and_says_what_came_of_it(trained):
    folder, figures, steps = trained
    assert sum(number for number, _ in steps) == TINY.steps
    assert all(note.startswith("loss ") for _, note in steps)
    found = load_encoder(folder)
    weights = [*found.whisper.encoder.parameters(), *found.head.parameters()]
    assert figures.parameters == sum(weight.numel() for weight in weights)
    assert figures.seen > 0.5
    assert figures.unseen > 0.5
    assert 0.001 < figures.hours < 0.02


def test_the_same_training_gives_the_same_files(trained, tmp_path):
    folder, figures, _ = trained
    torch.manual_seed(123)  # nothing outside may matter
    assert train_encoder(tmp_path, TINY, minutes=5) == figures
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        contents = [(each / name).read_bytes() for each in (folder, tmp_path)]
        assert len({hashlib.sha256(content).digest() for content in contents}) == 1, name


def test_another_seed_gives_another_encoder(trained, tmp_path):
    folder, _, _ = trained
    train_encoder(tmp_path, replace(TINY, seed=2), minutes=5)
    one, other = (load_encoder(each).head.weight for each in (folder, tmp_path))
    assert not torch.equal(one, other)


def test_the_callers_torch_stays_as_it_was(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train_encoder(tmp_path, replace(TINY, steps=1), minutes=5)
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_budget_that_is_too_small_says_how_far_it_came(tmp_path):
    with pytest.raises(RejectedError, match=r"in 1e-09 minutes, but .* after step 1 of 6, with"):
        train_encoder(tmp_path / "made", TINY, minutes=1e-9)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("missed", ["required_seen", "required_unseen"])
def test_an_encoder_that_hears_badly_is_refused_and_can_be_looked_at(tmp_path, missed):
    with pytest.raises(RejectedError, match=r"but got .*% and .*% wrong after 1 steps"):
        train_encoder(tmp_path / "made", replace(TINY, steps=1, **{missed: 0.1}), minutes=5)
    assert load_encoder(tmp_path / "made").words


def test_nothing_of_the_half_for_exams_is_heard_in_training():
    texts = [text for hard in (0.0, 1.0) for b in drawn(20, hard=hard) for text in b.texts]
    stories = [text for text in texts if len(text.split()) > LONGEST_TURN]
    assert len(stories) > 30
    assert {half_of(text) for text in stories} == {"train"}


def test_no_accent_and_no_throat_of_a_held_out_voice_is_heard_in_training():
    heard, kept = (
        [voice.name.split("+") for voice in voices] for voices in (WORLD_VOICES, HELD_OUT_VOICES)
    )
    assert not {accent for accent, _ in heard} & {accent for accent, _ in kept}
    assert not {*THROATS, *(throat for _, throat in heard)} & {throat for _, throat in kept}


def test_batches_are_full_of_clips_of_about_one_length():
    found = drawn(20, max_frames=1_200)
    sizes = [batch.features.shape[0] * batch.features.shape[2] for batch in found]
    heard = sum(int(batch.num_frames.sum()) for batch in found)
    assert max(sizes) <= 1_200
    assert heard > 0.8 * sum(sizes)


def test_what_pads_a_batch_is_zero():
    for batch in drawn(8):
        assert int(batch.num_frames.max()) == batch.features.shape[2]
        for features, num_frames in zip(batch.features, batch.num_frames, strict=True):
            assert not features[:, num_frames:].any()
            assert features[:, :num_frames].any()


def test_speech_depends_on_the_seed_alone():
    one, same, other = (drawn(3, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a.features, b.features) for a, b in zip(one, same, strict=True))
    assert one[0].texts != other[0].texts
