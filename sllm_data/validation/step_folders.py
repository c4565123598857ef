"""Which step writes which folder, and the other way round."""

from sllm_data.records import PASSES

_FOLDERS = {
    "candidates": ("rejections/candidates", "candidates"),
    "ingest": ("rejections/ingest", "audio"),
    "index": ("rejections/index", "index"),
    "align": ("rejections/align", "alignments"),
    "plan": ("rejections/plan", "requests"),
    "generate": ("rejections/generate", "responses"),
    "assemble": ("rejections/assemble", "samples"),
}


def is_step(name: str) -> bool:
    """Whether there is such a step.

    >>> is_step("plan.main"), is_step("plan"), is_step("ingest")
    (True, False, True)
    """
    step, dot, turn = name.partition(".")
    return step in _FOLDERS and ((turn in PASSES) if step in ("plan", "generate") else not dot)


def step_of(folder: str) -> str:
    """Returns the step that writes a folder.

    >>> step_of("requests/main"), step_of("rejections/ingest"), step_of("samples")
    ('plan.main', 'ingest', 'assemble')
    """
    table, _, turn = folder.partition("/")
    match table:
        case "rejections":
            return turn
        case "requests":
            return f"plan.{turn}"
        case "responses":
            return f"generate.{turn}"
        case _:
            return next(step for step, folders in _FOLDERS.items() if table in folders)


def folders_of(step: str) -> tuple[str, str]:
    """Returns the folders that a step writes, rejections first.

    >>> folders_of("plan.main")
    ('rejections/plan.main', 'requests/main')
    """
    name, dot, turn = step.partition(".")
    rejections, main = _FOLDERS[name]
    return f"{rejections}{dot}{turn}", f"{main}/{turn}" if dot else main
