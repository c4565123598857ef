"""What replay takes from the user alone, never from the dataset, which may be a stranger's.

Its run.yaml says where requests go, which environment variable goes with them as the key, and
which Python is imported in place of a model. Such a field counts only where `--set` names it.
"""

import shlex
from collections.abc import Sequence

from sllm_data.errors import ConfigError
from sllm_data.generation import BackboneConfig
from sllm_data.generation.config import OpenaiConfig, ScriptedConfig


def check_named(backbone: BackboneConfig, overrides: Sequence[str], *, where: str) -> None:
    """Refuses a server, a key or a function that the user has not named.

    Args:
        backbone: The dataset's, after the overrides.
        overrides: `name=value`, as the user gave them.
        where: The dataset's run.yaml.

    Raises:
        ConfigError: There is one.
    """
    named = {override.partition("=")[0] for override in overrides}
    fields = [field for field in _of_the_user(backbone) if f"backbone.{field}" not in named]
    if not fields:
        return
    values = [f"backbone.{field}={getattr(backbone, field)}" for field in fields]
    raise ConfigError(
        f"{where}: {' and '.join(f'backbone.{field}' for field in fields)} must be named by you, "
        "since a dataset may be a stranger's; if you trust what stands there, add "
        f"{' '.join(f'--set {shlex.quote(value)}' for value in values)}"
    )


def _of_the_user(backbone: BackboneConfig) -> tuple[str, ...]:
    match backbone:
        case OpenaiConfig():
            is_usual = backbone.api_key_env == OpenaiConfig.model_fields["api_key_env"].default
            return ("base_url",) if is_usual else ("base_url", "api_key_env")
        case ScriptedConfig() if ":" in backbone.function:
            return ("function",)
        case _:
            return ()
