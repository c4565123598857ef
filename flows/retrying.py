"""What the tasks of flows try again, and when: what may pass by itself, no mistake of a user's."""

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.tasks import exponential_backoff

from sllm_data.errors import EngineError, StorageAwayError

_RETRIES = 3
_FIRST_DELAY_S = 10
_JITTER = 0.3


def may_pass(_task: object, _run: object, state: State) -> bool:
    """Whether an engine or a storage failed, which may be there again a little later."""
    found = state.data
    while isinstance(found, State):  # Prefect wraps the state that the task returned
        found = found.data
    return isinstance(found, EngineError | StorageAwayError)


RETRIED: dict[str, Any] = {  # Any: what Prefect's task takes by name
    "retries": _RETRIES,
    "retry_delay_seconds": exponential_backoff(_FIRST_DELAY_S),
    "retry_jitter_factor": _JITTER,
    "retry_condition_fn": may_pass,
    "cache_policy": NO_CACHE,
}
"""Of a task whose errors are failed states: tried again after about 10, 20 and 40 seconds."""
