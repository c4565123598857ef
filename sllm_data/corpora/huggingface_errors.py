"""What the `datasets` library and what it reads with raise, as one sentence for the user."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import yaml
from datasets.exceptions import DatasetsError

from sllm_data.corpora.folders import printable
from sllm_data.errors import CorpusError

_MAX_CHARACTERS = 300
_WORDLESS: dict[type[BaseException], str] = {StopIteration: "its first data file holds no rows"}

# found by damaging each kind of file: tests/corpora/test_huggingface_faults.py
_FAULTS = (
    DatasetsError,  # no such dataset, no data files, splits that are not those announced, ...
    pa.ArrowException,
    OSError,  # a file or the hub can't be reached; the disk of the cache is full
    ValueError,  # no such configuration, wrong JSON, text that is not UTF-8, columns that differ
    TypeError,  # a column that can't be cast
    RuntimeError,  # a loading script, shards that can't be told apart
    ImportError,  # a decoder that is not installed
    EOFError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    yaml.YAMLError,
    KeyError,  # a description of a dataset that lacks an entry
    StopIteration,  # a JSON file without rows
)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns what `datasets` raises while it reads the dataset `where` into a CorpusError."""
    try:
        yield
    except _FAULTS as error:
        remedy = "mend what it names, or get the dataset again"
        if isinstance(error, ConnectionError):
            remedy = "check the network, then run the same command again"
        raise CorpusError(
            f"{where}: datasets can't read it: {_first_cause(error)}; {remedy}"
        ) from error


def _first_cause(error: BaseException) -> str:
    """The message of what went wrong first: the library wraps it in a general one."""
    while isinstance(error.__cause__, _FAULTS):
        error = error.__cause__
    text = printable(" ".join(str(error).split())) or _WORDLESS.get(type(error), repr(error))
    return text.rstrip(".") if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
