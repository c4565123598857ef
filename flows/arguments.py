"""What a flow takes on the command line; what it does not know is one sentence."""

import argparse
from typing import NoReturn

from sllm_data.errors import ConfigError


class Arguments(argparse.ArgumentParser):
    """A parser whose errors are the project's.

    Args:
        flow: The module's name: `validate` for `python -m flows.validate`.
        does: What the flow does, for --help.
    """

    def __init__(self, flow: str, does: str) -> None:
        super().__init__(f"python -m flows.{flow}", description=does, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError with how it is meant."""
        raise ConfigError(f"{message}; {' '.join(self.format_usage().split())}")
