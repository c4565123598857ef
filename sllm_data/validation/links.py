"""Level 1: which rows name which, and what becomes of the rows that a step reads.

Each link is a query over views that are named by folders; it hands over the rows that break
it. `link_checks` runs them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sllm_data.validation.index_parts import IndexPart
from sllm_data.validation.rules import Rule

RULES = (
    Rule(
        name="audio_ref",
        level=1,
        meaning="every (audio_part, audio_id) of the index, of a request and of a sample is a "
        "row of that part of audio/",
    ),
    Rule(
        name="span_in_audio",
        level=1,
        meaning="every audio span lies inside its clip: 0 ≤ start, 1 ≤ length, "
        "start + length ≤ the clip's samples",
    ),
    Rule(
        name="accounted",
        level=1,
        meaning="row by row, what a step read is a row or a rejection of what it wrote, one of "
        "the two, and nothing else was written",
        foreign="off",
    ),
    Rule(
        name="row_order",
        level=1,
        meaning="rows stand in the order of the rows that they came from",
        foreign="off",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One query over views that are named by folders; each has `file` and `row` beside."""

    rule: str
    column: str
    views: tuple[str, ...]
    """Folders that it reads. `clips` are the clips of all parts of audio/ in question, and
    `unread_clips` has the numbers of those parts that can't be read: nothing is said of them."""
    query: str
    """Selects file, row number, key and value of each row that breaks it."""
    message: str


def view_of(folder: str) -> str:
    """Name of a folder's view in SQL.

    >>> view_of("rejections/plan.main")
    'rejections_plan_main'
    """
    return folder.replace("/", "_").replace(".", "_").replace("-", "_")


def references(folder: str) -> Iterator[Link]:
    """Yields the links of a folder to audio/."""
    view = view_of(folder)
    table = folder.partition("/")[0]
    message = "must be a row of that part of audio/"
    if table == "samples":
        refs = f"(SELECT file, row, sample_id, unnest(audio_refs) AS r FROM {view}) s"
        yield Link(
            rule="audio_ref",
            column="audio_refs",
            views=(folder, "clips"),
            query=f"SELECT file, row, sample_id, concat(r.audio_id, ' in part ', r.audio_part) "
            f"FROM {refs} ANTI JOIN clips c "
            "ON c.audio_part = s.r.audio_part AND c.audio_id = s.r.audio_id "
            "WHERE r.audio_part NOT IN (SELECT audio_part FROM unread_clips)",
            message=message,
        )
        yield Link(
            rule="span_in_audio",
            column="messages",
            views=(folder, "clips"),
            query=f"""
                WITH spans AS (
                    SELECT file, row, sample_id, audio_refs, unnest(list_transform(
                        list_filter(
                            flatten(list_transform(messages, lambda m: m.content)),
                            lambda s: s.type = 'audio'),
                        lambda s: {{'audio_index': s.audio_index,
                            'start_sample': s.start_sample, 'num_samples': s.num_samples}}
                    )) AS s FROM {view}
                ), heard AS (
                    SELECT file, row, sample_id, s, audio_refs[s.audio_index + 1] AS r FROM spans
                )
                SELECT heard.file, heard.row, sample_id, concat('samples ', s.start_sample, ' to ',
                    s.start_sample + s.num_samples, ' of ', c.num_samples)
                FROM heard JOIN clips c
                ON c.audio_part = r.audio_part AND c.audio_id = r.audio_id
                WHERE s.start_sample < 0 OR s.num_samples < 1
                    OR s.start_sample + s.num_samples > c.num_samples""",
            message="must lie inside its clip",
        )
        return
    key = "audio_id" if table == "index" else "request_id"
    yield Link(
        rule="audio_ref",
        column="audio_id",
        views=(folder, "clips"),
        query=f"SELECT file, row, {key}, concat(audio_id, ' in part ', audio_part) FROM {view} "
        "ANTI JOIN clips USING (audio_part, audio_id) "
        "WHERE audio_part NOT IN (SELECT audio_part FROM unread_clips)",
        message=message,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flow:
    """Rows that a step read, by id, and what became of them."""

    source: str
    """Folder."""
    source_id: str
    """SQL; NULL where a row is not to be accounted for."""
    ends: tuple[tuple[str, str], ...]
    """Folder and SQL of the id, of the rows and of the rejections."""


def _accounts(flow: _Flow) -> Iterator[Link]:
    """Every id of the source is in exactly one of the ends, and every end has its source."""
    came, ended = _came(flow), _ended(flow)
    ends = " or ".join(folder for folder, _ in flow.ends)
    yield Link(
        rule="accounted",
        column="",
        views=_folders(flow),
        query=f"SELECT file, row, id, id FROM {came} ANTI JOIN ({ended}) ended USING (id) "
        "WHERE id IS NOT NULL",
        message=f"must be a row of {ends}, is in none",
    )
    yield from _origins(flow)


def _came(flow: _Flow) -> str:
    return f"(SELECT file, row, {flow.source_id} AS id FROM {view_of(flow.source)}) came"


def _ended(flow: _Flow) -> str:
    return " UNION ALL ".join(
        f"SELECT file, row, {name} AS id FROM {view_of(folder)}" for folder, name in flow.ends
    )


def _folders(flow: _Flow) -> tuple[str, ...]:
    return (flow.source, *(folder for folder, _ in flow.ends))


def _origins(flow: _Flow) -> Iterator[Link]:
    """Every end has its source, and no id is in two of them."""
    came, ended, folders = _came(flow), _ended(flow), _folders(flow)
    ends = " or ".join(folder for folder, _ in flow.ends)
    yield Link(
        rule="accounted",
        column="",
        views=folders,
        query=f"SELECT file, row, id, id FROM ({ended}) ended ANTI JOIN {came} USING (id)",
        message=f"must come from {flow.source}, has no such row there",
    )
    yield Link(
        rule="accounted",
        column="",
        views=folders,
        query=f"SELECT file, row, id, id FROM ({ended}) ended "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY file, row) > 1",
        message=f"must be one row of {ends}, is in them more than once",
    )


def _order(folder: str, key: str, source: str, source_key: str) -> Link:
    return Link(
        rule="row_order",
        column=key,
        views=(folder, source),
        query=f"""
            SELECT file, row, id, id FROM (
                SELECT t.file, t.row, t.{key} AS id, u.row AS place,
                    lag(u.row) OVER (ORDER BY t.row) AS before
                FROM {view_of(folder)} t JOIN {view_of(source)} u
                ON u.{source_key} = t.{key}) WHERE place < before""",
        message=f"must stand in the order of {source}",
    )


def of_candidates() -> Iterator[Link]:
    """Yields the links between part k of candidates/, of what ingest wrote, and of word times."""
    yield from _accounts(
        _Flow(
            source="candidates",
            source_id="audio_id",
            ends=(("audio", "audio_id"), ("rejections/ingest", "row_id")),
        )
    )
    yield _order("audio", "audio_id", "candidates", "audio_id")
    # a clip whose language nobody can align has neither
    yield from _origins(
        _Flow(
            source="audio",
            source_id="audio_id",
            ends=(("alignments", "audio_id"), ("rejections/align", "row_id")),
        )
    )
    yield _order("alignments", "audio_id", "audio", "audio_id")


def of_index(part: IndexPart, turns: Sequence[str]) -> Iterator[Link]:
    """Yields the links between part k of index/ and of all that comes from it."""
    yield from references("index")
    if not part.growth:
        yield from _accounts(
            _Flow(source="audio", source_id="audio_id", ends=(("index", "audio_id"),))
        )
        yield from _accounts(
            _Flow(
                source="index",
                source_id="CASE WHEN NOT kept THEN audio_id END",
                ends=(("rejections/index", "row_id"),),
            )
        )
    yield _order("index", "audio_id", "audio", "audio_id")
    for turn in turns:
        requests, responses = f"requests/{turn}", f"responses/{turn}"
        yield from references(requests)
        yield from _accounts(
            _Flow(
                source=requests,
                source_id="request_id",
                ends=((responses, "request_id"), (f"rejections/generate.{turn}", "row_id")),
            )
        )
        yield _order(responses, "request_id", requests, "request_id")
        if turn == "restore":
            yield from _accounts(
                _Flow(
                    source="index",
                    source_id="CASE WHEN kept THEN audio_id END",
                    ends=((requests, "audio_id"), ("rejections/plan.restore", "audio_id")),
                )
            )
        yield from _of_pass(turn)
    yield from _of_tasks()
    yield from references("samples")
    yield from _accounts(
        _Flow(
            source="responses/main",
            source_id="split_part(request_id, ':', 1)",
            ends=(("samples", "sample_id"), ("rejections/assemble", "row_id")),
        )
    )
    yield _order("samples", "sample_id", "requests/main", "sample_id")


_SERVED = {"judge": "main", "followup": "main", "followup_answer": "followup"}
"""Passes whose requests are about the answers of another."""


def _of_pass(turn: str) -> Iterator[Link]:
    """Each request of a pass against what it is about."""
    requests = f"requests/{turn}"
    served = _SERVED.get(turn)
    if served is None:
        yield _order(requests, "audio_id", "index", "audio_id")
    else:
        yield Link(
            rule="accounted",
            column="sample_id",
            views=(requests, f"requests/{served}"),
            query=f"SELECT file, row, request_id, sample_id FROM requests_{turn} "
            f"ANTI JOIN requests_{served} USING (sample_id)",
            message=f"must be about the answer to a request of requests/{served}",
        )
    if turn == "followup_answer":
        yield from _accounts(
            _Flow(
                source="responses/followup",
                source_id="split_part(request_id, ':', 1) || ':followup_answer'",
                ends=((requests, "request_id"), (f"rejections/plan.{turn}", "row_id")),
            )
        )
    if turn == "question":
        yield _given(requests)


def _of_tasks() -> Iterator[Link]:
    """Tasks of the index against requests; a rejected prompt does not say its task."""
    views = ("index", "requests/main", "rejections/plan.main")
    yield Link(
        rule="accounted",
        column="tasks",
        views=views,
        query="""
            WITH made AS (
                SELECT audio_id, count(*) AS n FROM requests_main GROUP BY audio_id
            ), dropped AS (
                SELECT audio_id, count(*) AS n, bool_or(reason = 'empty_transcript') AS whole
                FROM rejections_plan_main GROUP BY audio_id
            )
            SELECT file, row, audio_id, array_to_string(tasks, ', ') FROM index
            LEFT JOIN made USING (audio_id) LEFT JOIN dropped USING (audio_id)
            WHERE len(tasks) <> coalesce(made.n, 0) + CASE
                WHEN dropped.whole THEN len(tasks) ELSE coalesce(dropped.n, 0) END""",
        message="each must be a request or a rejection of plan.main",
    )
    yield _given("requests/main")


def _given(requests: str) -> Link:
    return Link(
        rule="accounted",
        column="task",
        views=("index", requests),
        query=f"SELECT r.file, r.row, r.request_id, r.task FROM {requests.replace('/', '_')} r "
        "ANTI JOIN index i ON i.audio_id = r.audio_id AND list_contains(i.tasks, r.task)",
        message="must be a task that the index gave this clip",
    )
