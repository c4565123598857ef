"""validate: all levels up to the one that is asked for, and a report."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sllm_data.errors import ConfigError
from sllm_data.runners import cluster_kept
from sllm_data.validation.contract import Contract
from sllm_data.validation.findings import Tally
from sllm_data.validation.levels import DEEPER, RULES
from sllm_data.validation.manifests import check as check_footers
from sllm_data.validation.opening import Options, contract_of, open_subject
from sllm_data.validation.report import Outcome, Report
from sllm_data.validation.rules import Rule, Weight


def validate(root: Path, options: Options) -> Report:
    """Judges a dataset; nothing in it is written or changed.

    Args:
        root: Its folder.
        options: How deep to look, and by what to judge.

    Raises:
        ConfigError: The contract is malformed, a number is out of range, or the Ray cluster
            can't be joined.
        OutputError: There is no dataset, also on a machine of the cluster, or a worker died.
        ShardError: A published schema that was asked for can't be used.
    """
    if not 0 < options.sample <= 1:
        raise ConfigError(f"sample must be above 0 and at most 1, got {options.sample:g}")
    if options.against and options.level < len(DEEPER):
        raise ConfigError(
            f"against compares datasets at level {len(DEEPER)}, got level {options.level}; add "
            f"--level {len(DEEPER)}"
        )
    start = time.monotonic()
    path, contract = contract_of(root, options)
    contract.check_rules(RULES.keys(), where=str(path))
    tally = Tally(options.keep)
    # one cluster for all that is mapped
    with cluster_kept(), tempfile.TemporaryDirectory(prefix="sllm-validate-") as scratch:
        subject = open_subject(root, options, contract, Path(scratch), tally)
        subject = check_footers(subject, tally)
        for check in DEEPER[: options.level]:
            check(subject, tally)
    return Report(
        dataset=str(root),
        level=options.level,
        foreign=subject.foreign,
        schema_version=subject.published.version,
        contract=str(path) if path.exists() else "",
        sample=options.sample,
        outcomes=tuple(_outcomes(tally, contract, options.level, foreign=subject.foreign)),
        looked=tally.looked,
        seconds=time.monotonic() - start,
    )


def _outcomes(tally: Tally, contract: Contract, level: int, *, foreign: bool) -> Iterator[Outcome]:
    for rule in sorted(RULES.values(), key=lambda rule: rule.level):
        if rule.level > level:
            continue
        weight = weight_of(rule, contract, foreign=foreign)
        is_off = weight == "off"
        yield Outcome(
            rule=rule,
            weight=weight,
            count=0 if is_off else tally.counts[rule.name],
            findings=() if is_off else tally.findings(rule.name),
        )


def weight_of(rule: Rule, contract: Contract, *, foreign: bool) -> Weight:
    """The weight of a rule: the contract's word, else its own."""
    return contract.rules.get(rule.name, rule.foreign if foreign else rule.weight)
