"""One engine serves all passes of a run, and a failed one is not asked again."""

from contextlib import closing

import pytest

from sllm_data.generation import ScriptedConfig
from sllm_data.steps import Engines

CONFIG = ScriptedConfig(engine="scripted")


def test_passes_of_one_backbone_share_their_engine():
    with closing(Engines()) as engines:
        with engines.open(CONFIG) as first:
            pass
        with engines.open(CONFIG.model_copy()) as second:
            assert second is first


def test_another_backbone_has_an_engine_of_its_own():
    with closing(Engines()) as engines:
        with engines.open(CONFIG) as first:
            pass
        with engines.open(CONFIG.model_copy(update={"function": "echo"})) as second:
            assert second is not first


def test_after_a_failure_the_next_pass_has_a_new_engine():
    with closing(Engines()) as engines:
        with pytest.raises(RuntimeError), engines.open(CONFIG) as first:
            raise RuntimeError("the work failed")
        with engines.open(CONFIG) as second:
            assert second is not first


def test_closing_twice_is_closing_once():
    engines = Engines()
    with engines.open(CONFIG):
        pass
    engines.close()
    engines.close()
