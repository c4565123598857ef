"""Extending a finished dataset by what its corpora list now, under the same configuration.

A changed run.yaml says by itself that a dataset is to grow. New utterances in the same folders
do not: the corpora are read to see whether there are any. Where there are, the dataset gets one
more extension with the configuration of the last one; where there are none, it stays as it is.
An utterance is known by its audio_id: one whose recording or transcript was changed in its
place is not new.
"""

import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from sllm_data.errors import OutputError
from sllm_data.files import writing
from sllm_data.steps.dataset import Dataset, write_run_document
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.listing import num_candidate_parts
from sllm_data.steps.order import step_names
from sllm_data.steps.parts import edited
from sllm_data.steps.selecting import selected


def grown(dataset: Dataset) -> Dataset:
    """Returns the dataset with an extension for new utterances, where there are some.

    Nothing of it is written, and it need not be locked. One that is not finished is returned as
    it is: it is to be finished first, and takes what the corpora list when it lists them.

    Raises:
        CorpusError: A corpus can't be read.
        OutputError: The temporary folder can't be written.
    """
    if not dataset.is_finished or not num_new_utterances(dataset):
        return dataset
    again = deepcopy(dataset.extensions[-1])  # the same object twice would be an alias in YAML
    return replace(dataset, extensions=(*dataset.extensions, again))


def begin_growth(dataset: Dataset) -> Dataset:
    """Does the same for a dataset that is locked, and writes its run.yaml.

    From then on the extension is to be finished, by whichever run comes next.

    Raises:
        OutputError: Wordings or templates were edited since, or run.yaml can't be written.
        SllmDataError: As above.
    """
    new = grown(dataset)
    if new is not dataset:
        _check_wordings(dataset)
        write_run_document(new)
    return new


def _check_wordings(dataset: Dataset) -> None:
    """Refuses to add rows of other wordings than those that the dataset has."""
    for name in step_names(dataset.config):
        manifest = dataset.manifest(name)
        if manifest is not None and manifest.identity != expected_identity(dataset, name):
            raise OutputError(edited(dataset, name))


def num_new_utterances(dataset: Dataset) -> int:
    """How many utterances an extension of a finished dataset would add.

    Raises:
        CorpusError: A corpus can't be read.
        OutputError: The temporary folder can't be written.
    """
    with (
        writing(Path("the temporary folder (TMPDIR)")),
        tempfile.TemporaryDirectory(prefix="sllm-growth-") as folder,
        selected(dataset, Path(folder), num_old=num_candidate_parts(dataset)) as selection,
    ):
        return selection.chosen
