"""Emotion-aware rows: the backbone is told the emotion, the speech model is not."""

import json

import pytest
from steps_datasets import build, rows

from sllm_data.config import resolve
from sllm_data.errors import PoolError
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate

EMOTIONS = ("happy", "sad", None, "unknown", "")


@pytest.fixture(scope="module")
def manifest(world, tmp_path_factory):
    """The small world as a manifest in which some rows name the speaker's emotion."""
    lines = []
    for transcripts in sorted(world.rglob("*.trans.txt")):
        for line in transcripts.read_text().splitlines():
            name, _, text = line.partition(" ")
            path = (transcripts.parent / f"{name}.flac").relative_to(world)
            emotion = EMOTIONS[len(lines) % len(EMOTIONS)]
            row = {"audio_filepath": str(path), "text": text, "id": name, "lang": "en"}
            lines.append(json.dumps(row | {"speaker": name[:4], "emotion": emotion}))
    path = tmp_path_factory.mktemp("manifest") / "all.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def configured(world, manifest):
    def make(root, **fields):
        document = {
            "seed": 1,
            "output": str(root),
            "part_size": 20,
            "corpora": [{"kind": "manifest", "path": str(manifest), "audio_root": str(world)}],
            "recipe": "continuation",
            "backbone": {"engine": "scripted"},
            "filters": {"wrong_language": False, "copied": False, "repetition": False},
            "runner": {"kind": "serial"},
            "draw": {"mode": "draw", "multi_task_share": 1.0, "multi_task_count": 2},
            "max_rejected_fraction": 1.0,
        }
        return resolve(document | fields, where="test")

    return make


@pytest.mark.parametrize("mode", ["draw", "quota"])
def test_the_emotion_is_told_to_the_backbone_alone(configured, tmp_path, mode):
    root = tmp_path / "d"
    draw = {"mode": mode, "multi_task_share": 1.0, "multi_task_count": 2}
    build(configured(root, draw=draw))
    clips = {row["audio_id"]: row["speaker"]["emotion"] for row in rows(root, "audio")}
    samples = rows(root, "samples")
    aware = [row for row in samples if row["task"] == "emotional_continuation"]
    assert aware
    assert len(aware) < len(samples)
    for row in aware:
        emotion = clips[row["audio_refs"][0]["audio_id"]]
        assert emotion in ("happy", "sad")
        assert json.loads(row["task_params"]) == {"emotion": emotion}
        assert emotion in row["text_messages"][-2]["content"]
        heard = [span["text"] for turn in row["messages"][:-1] for span in turn["content"]]
        assert emotion not in "".join(filter(None, heard))
        assert row["speakers"][0]["emotion"] == emotion
    report = validate(root, Options(level=3, jobs=1))
    assert not [o.rule.name for o in report.outcomes if o.is_failure]


def test_every_clip_of_a_known_emotion_may_get_such_a_row_and_no_other(configured, tmp_path):
    root = tmp_path / "d"
    build(configured(root))
    told = {
        row["audio_id"]
        for row in rows(root, "requests/main")
        if row["task"] == "emotional_continuation"
    }
    known = {
        row["audio_id"]
        for row in rows(root, "audio")
        if row["speaker"]["emotion"] in ("happy", "sad")
    }
    kept = {row["audio_id"] for row in rows(root, "index") if row["kept"]}
    assert told == known & kept != set()


def test_a_wording_that_tells_the_speech_model_the_emotion_is_refused(configured, tmp_path):
    pools = tmp_path / "pools"
    pools.mkdir()
    (pools / "emotional_continuation.en.yaml").write_text(
        "task: emotional_continuation\nlanguage: en\nlicence: CC0-1.0\nsource: test\n"
        "instructions:\n  - {id: emotional_continuation.en.50, held_out: false, "
        'text: "Go on, being {{ emotion }}.", audio: "Go on, being {{ emotion }}."}\n'
    )
    config = configured(tmp_path / "d", prompts={"pools": [str(pools)]})
    with pytest.raises(PoolError, match="not on the audio side, which is to hear it"):
        build(config)
