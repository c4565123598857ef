"""The sections of the page about one dataset: figures in, HTML out."""

from collections.abc import Callable, Sequence

from sllm_data.reporting.report.charts import Charts
from sllm_data.reporting.report.distribution import Distribution, binned, shared_edges
from sllm_data.reporting.report.figures import Figures
from sllm_data.reporting.report.markup import details, note, number, share, table, text

Figure = tuple[str, str]
Section = Callable[[Figures, Sequence[Figures], Charts], str]
"""Takes the dataset, all datasets of the page (axes are shared), and what draws."""


def headline(figures: Figures) -> list[Figure]:
    """Returns the first figures to read, by name; the names are those of every dataset."""
    stats, amounts = figures.stats, figures.amounts
    rows = sum(task.rows for task in amounts.tasks.values())
    tokens = sum(task.response_tokens for task in amounts.tasks.values())
    return [
        ("hours of speech", number(sum(each.hours for each in amounts.corpora))),
        ("clips", number(amounts.durations.total)),
        ("speakers", number(sum(each.speakers for each in amounts.corpora))),
        ("languages", ", ".join(sorted({each.language for each in amounts.corpora})) or "none"),
        ("samples", number(rows)),
        ("tasks", number(len(amounts.tasks))),
        ("response tokens", number(tokens)),
        ("prompt tokens", number(stats.tokens.get("prompt", 0))),
        ("rejections", number(sum(each.rows for each in figures.rejections))),
        *((f"split {name}", number(rows)) for name, rows in stats.splits.items()),
        *((f"group {name}", number(rows)) for name, rows in stats.eval_groups.items()),
        ("made by", "; ".join(amounts.makers) or "nothing yet"),
        ("finished steps", ", ".join(stats.steps)),
        ("sllm-data", ", ".join(figures.code_versions)),
    ]


def amounts(figures: Figures, _: Sequence[Figures], charts: Charts) -> str:
    """Hours, rows and tokens by corpus, language and task."""
    found = figures.amounts
    corpora = [
        (
            f"{each.corpus} {each.version}",
            each.language,
            number(each.clips),
            number(each.hours),
            number(each.speakers),
            number(each.rows),
            number(each.response_tokens),
        )
        for each in found.corpora
    ]
    rows = sum(task.rows for task in found.tasks.values())
    tasks = [
        (
            name,
            number(task.rows),
            share(task.rows / rows),
            number(task.hours),
            number(task.response_tokens),
            number(task.lengths.mean(), digits=1),
            number(task.lengths.quantile(0.95), digits=0),
        )
        for name, task in found.tasks.items()
    ]
    header = ("corpus", "language", "clips", "hours", "speakers", "rows", "response tokens")
    parts = [table("By corpus and language", header, corpora)]
    if tasks:
        header = ("task", "rows", "share", "hours heard", "response tokens", "mean", "95 %")
        parts.append(table("By task", header, tasks))
        tokens = sum(task.response_tokens for task in found.tasks.values()) or 1
        by_task = found.tasks.values()
        shares = {
            "rows": [task.rows / rows for task in by_task],
            "response tokens": [task.response_tokens / tokens for task in by_task],
        }
        parts.append(charts.bars("Share of each task", list(found.tasks), shares))
    return "".join(parts)


def quotas(figures: Figures, _: Sequence[Figures], charts: Charts) -> str:
    """What was asked for and what came out."""
    tasks = figures.stats.tasks
    if not tasks:
        return note("Nothing was planned yet.")
    lines = [
        (
            name,
            share(task.asked_share),
            number(task.requests),
            share(task.request_share),
            number(task.samples),
            share(task.sample_share),
            f"{task.sample_share - task.asked_share:+.1%}",
        )
        for name, task in tasks.items()
    ]
    header = ("task", "asked", "requests", "share", "samples", "share", "got less asked")
    series = {
        "asked": [task.asked_share for task in tasks.values()],
        "got": [task.sample_share for task in tasks.values()],
    }
    return charts.bars("Share of each task: asked, and got in samples", list(tasks), series) + (
        table("Quotas", header, lines)
    )


def lengths(figures: Figures, every: Sequence[Figures], charts: Charts) -> str:
    """Histograms; side by side they have the same bins and the same axis."""
    kinds: list[tuple[str, str, Callable[[Figures], Distribution]]] = [
        ("Duration of clips", "seconds", lambda each: each.amounts.durations),
        ("Length of transcripts", "characters", lambda each: each.amounts.transcripts),
        ("Length of prompts", "tokens", lambda each: each.amounts.prompts),
        ("Length of responses", "tokens", _responses),
    ]
    parts = []
    for title, unit, of in kinds:
        edges = shared_edges([of(each) for each in every])
        found = of(figures)
        if not found.total:
            continue
        top = max(max(binned(of(each), edges)) / max(1, of(each).total) for each in every)
        parts.append(charts.histogram(title, unit, edges, binned(found, edges), top=top))
        digits = 0 if found.step == 1 else 1
        quantiles = ", ".join(
            f"{name} {number(value, digits=digits)}"
            for name, value in (
                ("median", found.quantile(0.5)),
                ("95 %", found.quantile(0.95)),
                ("longest", found.quantile(1.0)),
            )
        )
        parts.append(note(f"Mean {number(found.mean(), digits=1)} {unit}, {quantiles}."))
    return "".join(parts) or note("There are no clips yet.")


def _responses(figures: Figures) -> Distribution:
    counts: dict[int, int] = {}
    for task in figures.amounts.tasks.values():
        for length, num in task.lengths.counts.items():
            counts[length] = counts.get(length, 0) + num
    return Distribution(counts=counts)


def rejections(figures: Figures, _: Sequence[Figures], __: Charts) -> str:
    """What was dropped, by step and reason, with examples."""
    if not figures.rejections:
        return note("No row was rejected.")
    lines = [(each.step, each.reason, number(each.rows)) for each in figures.rejections]
    parts = [table("Rejections", ("step", "reason", "rows"), lines)]
    for each in figures.rejections:
        examples = [
            (one.row_id, one.detail, one.transcript or "", one.response or "")
            for one in each.examples
        ]
        caption = f"{each.step}, {each.reason}: {len(examples)} of {each.rows:,}"
        header = ("row", "detail", "transcript", "response")
        parts.append(details(caption, table(caption, header, examples)))
    return "".join(parts)


def quality(figures: Figures, _: Sequence[Figures], __: Charts) -> str:
    """What filters saw in the rows that are kept."""
    if not figures.quality:
        return note("There are no samples yet.")
    verdicts = sorted({name for each in figures.quality.values() for name in each.verdicts})
    header = ("task", "rows", *verdicts, "copy rate", "repetition", "language match")
    lines = [
        (
            task,
            number(each.rows),
            *(number(each.verdicts.get(name, 0)) for name in verdicts),
            number(each.copy_rate),
            number(each.repetition, digits=3),
            number(each.language_match),
            number(each.mean_logprob),
            number(each.judge_score),
        )
        for task, each in figures.quality.items()
    ]
    return note(
        "Means over the rows of a task for which a figure is known: copy rate of the transcript, "
        "share of the response that its worst loop covers, confidence in its language, log "
        "probability of its tokens, the judge's score from 1 to 5."
    ) + table("Verdicts and figures of the filters", (*header, "log prob.", "judge"), lines)


def duplicates(figures: Figures, _: Sequence[Figures], __: Charts) -> str:
    """What was there twice and dropped, and what is there twice and kept."""
    found = figures.duplicates
    dropped = {
        each.reason.replace("_", " "): each.rows
        for each in figures.rejections
        if each.reason.startswith("duplicate")
    }
    lines = [
        *((f"dropped: {reason}", number(rows)) for reason, rows in dropped.items()),
        ("clips whose transcript another clip has", number(found.repeated_transcripts)),
        ("clips with one and the same transcript, at most", number(found.largest_group)),
        ("rows that repeat a question about the same words", number(found.repeated_questions)),
    ]
    answers = [
        (
            task,
            number(each.responses),
            share(each.responses / each.rows),
            share(each.commonest_share),
            each.commonest,
        )
        for task, each in figures.quality.items()
    ]
    header = ("task", "different responses", "per row", "share of the commonest", "the commonest")
    return table("Duplicates", ("", "number"), lines) + (
        table("Responses that are the same", header, answers) if answers else ""
    )


def throughput(figures: Figures, _: Sequence[Figures], charts: Charts) -> str:
    """How fast answers came."""
    parts = []
    last = figures.stats.throughput
    if last.get("responses"):
        parts.append(
            note(
                f"Last run of the main pass: {last['responses']:,} answers in "
                f"{last['seconds']:,.1f} s, {last['rows_per_second']:,.1f} a second, "
                f"{last['response_tokens_per_second']:,.0f} response tokens a second, engine busy "
                f"{last['engine_busy_share']:.0%} of the time."
            )
        )
    for turn, runs in figures.courses.items():
        for place, points in enumerate(runs, start=1):
            title = f"Answers a second, pass {turn}, run {place} of {len(runs)}"
            before, rates = (0.0, 0), []
            for seconds, answers in points:
                if seconds > before[0]:
                    rate = (answers - before[1]) / (seconds - before[0])
                    rates.append((seconds, rate))
                    before = (seconds, answers)
            if rates:
                parts.append(charts.line(title, rates))
    if not figures.courses:
        parts.append(note("When answers came was not recorded for this dataset."))
    return "".join(parts)


def heading(figures: Figures) -> str:
    """Returns the name of one of two datasets."""
    return f'<h3 class="side">{text(figures.name)}</h3>'
