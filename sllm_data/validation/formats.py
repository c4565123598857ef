"""A report as text for a terminal, JSON, JUnit XML, or Markdown.

What stands in a dataset is not to be trusted: control characters are shown by their codes,
so that no value moves a cursor, breaks a line or ends an XML document.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from xml.etree import ElementTree as ET

from sllm_data.validation.findings import Finding
from sllm_data.validation.report import Outcome, Report

_PROSE = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")


def printable(text: str) -> str:
    r"""Returns a text with everything that can't be seen as an escape.

    >>> printable("a\x1bb")
    'a\\x1bb'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def as_text(report: Report) -> str:
    """Returns lines for a terminal: what was looked at, each broken rule, the verdict."""
    lines = [_headline(report), f"looked at {_looked(report)}"]
    broken = [outcome for outcome in report.outcomes if outcome.count]
    for outcome in broken:
        rule = outcome.rule
        lines += ["", f"{outcome.weight}: {rule.name} (level {rule.level}): {rule.meaning}"]
        lines += [f"  {line}" for line in _aligned(outcome.findings)]
        if rest := outcome.count - len(outcome.findings):
            lines.append(f"  ... and {rest:,} more")
    lines += ["", _verdict(report)]
    return "\n".join(lines)


def as_json(report: Report) -> str:
    """Returns the report as one JSON document; its fields stand in docs/validation.md."""
    return json.dumps(report.as_json(), indent=1)


def as_junit(report: Report) -> str:
    """Returns JUnit XML: a test case for each rule, its level as the class."""
    run = [outcome for outcome in report.outcomes if outcome.weight != "off"]
    counts = {
        "tests": str(len(report.outcomes)),
        "failures": str(sum(outcome.is_failure for outcome in run)),
        "errors": "0",
        "skipped": str(len(report.outcomes) - len(run)),
        "time": f"{report.seconds:.3f}",
    }
    suites = ET.Element("testsuites", counts)
    suite = ET.SubElement(suites, "testsuite", {"name": printable(report.dataset)} | counts)
    for outcome in report.outcomes:
        suite.append(_case(outcome))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True)


def as_markdown(report: Report) -> str:
    """Returns Markdown for a pull request or a job's summary."""
    sign = "✅" if report.passed else "❌"
    lines = [
        f"## {sign} {_code(report.dataset)}: {_verdict(report)}",
        "",
        f"Level {report.level}, {_checked(report)}; looked at {_looked(report)}.",
    ]
    for outcome in (outcome for outcome in report.outcomes if outcome.count):
        rule = outcome.rule
        number = f"{outcome.count:,} {_plural(outcome.count, 'finding')}"
        lines += [
            "",
            f"### {outcome.weight}: {_code(rule.name)}, {number}",
            "",
            f"{_prose(rule.meaning)}.",
            "",
            "| part | row | column | value | |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {_code(f.part)} | {_code(f.row)} | {_code(f.column)} | {_code(f.value)} "
            f"| {_prose(f.message)} |"
            for f in outcome.findings
        ]
        if rest := outcome.count - len(outcome.findings):
            lines += ["", f"... and {rest:,} more."]
    return "\n".join(lines)


FORMATS: Mapping[str, Callable[[Report], str]] = {
    "text": as_text,
    "json": as_json,
    "junit": as_junit,
    "markdown": as_markdown,
}


def _headline(report: Report) -> str:
    by = ", parts of another program" if report.foreign else ""
    contract = f", {printable(report.contract)}" if report.contract else ""
    return (
        f"{printable(report.dataset)}: level {report.level}, schema version "
        f"{report.schema_version}{contract}{by}"
    )


def _looked(report: Report) -> str:
    """What was looked at, each table at the deepest level that looked at it."""
    deepest = {table: looked for (_, table), looked in sorted(report.looked.items())}
    parts = []
    for table, looked in deepest.items():
        of = f" of {looked.of_rows:,}" if looked.rows < looked.of_rows else ""
        parts.append(
            f"{table} {looked.rows:,}{of} {_plural(looked.of_rows, 'row')} in "
            f"{looked.parts:,} {_plural(looked.parts, 'part')}"
        )
    return ", ".join(parts) or "nothing"


def _checked(report: Report) -> str:
    number = sum(outcome.weight != "off" for outcome in report.outcomes)
    off = len(report.outcomes) - number
    return f"{number} rules{f' ({off} off)' if off else ''}"


def _verdict(report: Report) -> str:
    errors, warnings = report.number("error"), report.number("warning")
    found = f"{errors:,} {_plural(errors, 'error')}, {warnings:,} {_plural(warnings, 'warning')}"
    word = "passed" if report.passed else "falls short"
    return f"{word}: {found}, {_checked(report)}, {report.seconds:.1f} s"


def _plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def _aligned(findings: tuple[Finding, ...]) -> Iterator[str]:
    """Part, row, column and value in columns as wide as their widest, then the sentence."""
    cells = [tuple(map(printable, (f.part, f.row, f.column, f.value))) for f in findings]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for finding, row in zip(findings, cells, strict=True):
        place = "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width
        )
        yield f"{place}  {printable(finding.message)}"


def _case(outcome: Outcome) -> ET.Element:
    rule = outcome.rule
    case = ET.Element("testcase", {"classname": f"level {rule.level}", "name": rule.name})
    if outcome.weight == "off":
        ET.SubElement(case, "skipped", {"message": "switched off"})
    elif outcome.count:
        text = "\n".join(_aligned(outcome.findings))
        if rest := outcome.count - len(outcome.findings):
            text += f"\n... and {rest:,} more"
        if outcome.is_failure:
            message = f"{outcome.count} {_plural(outcome.count, 'finding')}: {rule.meaning}"
            failure = ET.SubElement(case, "failure", {"type": "error", "message": message})
            failure.text = text
        else:
            ET.SubElement(case, "system-out").text = text
    return case


def _code(text: str) -> str:
    """A code span that no backtick ends and no pipe splits; nothing where it is empty."""
    shown = printable(text)
    if not shown.strip():
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}".replace("|", "\\|")


def _prose(text: str) -> str:
    """Text that is no markup, names nobody and links nowhere."""
    return _PROSE.sub(r"\\\1", printable(text)).replace("@", "&#64;").replace("://", ":&#47;/")
