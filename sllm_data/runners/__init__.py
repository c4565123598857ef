"""Where parts are worked on: one seam, `map_parts`, and what stands behind it.

mapping     `map_parts`: serial, processes, or what `ray_tasks` does on a cluster
ray_crew    workers on a cluster that keep their engine
cluster     the connection to Ray; `place` is what a worker there must set up
fence       workers of a run that was killed write nothing into the next one

Ray is imported where it is configured, and nowhere above this package.
"""

from sllm_data.runners.cluster import cluster_kept, num_engines_on
from sllm_data.runners.config import RunnerConfig
from sllm_data.runners.fence import fence_of, pass_fence, put_fence
from sllm_data.runners.mapping import map_parts, num_workers, start_worker, starting_workers

__all__ = [
    "RunnerConfig",
    "cluster_kept",
    "fence_of",
    "map_parts",
    "num_engines_on",
    "num_workers",
    "pass_fence",
    "put_fence",
    "start_worker",
    "starting_workers",
]
