"""All doors, by name; those that misbehave on purpose are no part of `all`."""

from fuzzing import (
    alignment_doors,
    audio_doors,
    benchmark_doors,
    config_doors,
    corpora_doors,
    manifest_doors,
    planted_doors,
    prompt_doors,
    server_doors,
    stored_doors,
)
from fuzzing.trial import Target

_HOMES = (
    *(corpora_doors, manifest_doors, audio_doors, prompt_doors),
    *(config_doors, stored_doors, server_doors, alignment_doors, benchmark_doors),
)
TARGETS: dict[str, Target] = {target.name: target for home in _HOMES for target in home.TARGETS}
PLANTED: dict[str, Target] = {target.name: target for target in planted_doors.TARGETS}
