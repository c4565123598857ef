"""What of a dataset's backbone replay takes only where the user names it, too."""

import shlex

import pytest
from pydantic import TypeAdapter

from sllm_data.errors import ConfigError
from sllm_data.generation import BackboneConfig
from sllm_data.steps.replay_trust import check_named

SERVER = {"engine": "openai", "model": "m", "base_url": "http://a.example/v1"}
URL, KEY, FUNCTION = (f"backbone.{name}" for name in ("base_url", "api_key_env", "function"))


def check(backbone, *named):
    parsed = TypeAdapter(BackboneConfig).validate_python(backbone)
    check_named(parsed, named, where="d/run.yaml")


@pytest.mark.parametrize(
    ("backbone", "named", "missing"),
    [
        (SERVER, (), (URL,)),
        (SERVER, ("backbone.retries=1", "base_url=http://a.example/v1"), (URL,)),
        (SERVER | {"api_key_env": "AWS_SECRET_ACCESS_KEY"}, (), (URL, KEY)),
        (SERVER | {"api_key_env": "AWS_SECRET_ACCESS_KEY"}, (f"{URL}=http://b/v1",), (KEY,)),
        ({"engine": "scripted", "function": "os:getcwd"}, (), (FUNCTION,)),
    ],
)
def test_what_a_stranger_could_use_must_be_named_by_the_user(backbone, named, missing):
    with pytest.raises(ConfigError) as caught:
        check(backbone, *named)
    said = str(caught.value)
    assert said.startswith(f"d/run.yaml: {' and '.join(missing)} must be named by you, ")
    values = shlex.split(said.partition("add ")[2])[1::2]
    assert [value.partition("=")[0] for value in values] == list(missing)
    check(backbone, *named, *values)


def test_the_shell_does_nothing_with_what_is_to_be_added():
    with pytest.raises(ConfigError, match=r"--set 'backbone\.base_url=http://a/\$\(id\);id'$"):
        check(SERVER | {"base_url": "http://a/$(id);id"})


@pytest.mark.parametrize(
    ("backbone", "named"),
    [
        ({"engine": "vllm", "model": "m"}, ()),
        ({"engine": "scripted", "function": "echo"}, ()),
        (SERVER, (f"{URL}=http://a.example/v1",)),
    ],
)
def test_what_does_no_harm_or_is_named_is_taken(backbone, named):
    check(backbone, *named)
