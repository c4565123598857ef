"""A Hugging Face dataset as the `datasets` library opens it, once per process.

Its errors are not translated here: whoever calls does it, where it reads, too. What is
checked is what the library would get wrong without a word: folders that it takes for one
another, rows without a fixed order, another revision than the one asked for, damaged pages.
"""

import functools
import json
import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import datasets
from datasets.packaged_modules.folder_based_builder.folder_based_builder import FolderBasedBuilder
from datasets.packaged_modules.parquet.parquet import Parquet
from pyarrow.dataset import ParquetFragmentScanOptions

from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.errors import CorpusError
from sllm_data.files import is_folder
from sllm_data.seeding import hash128

_SAVED = ("state.json", "dataset_dict.json")  # what save_to_disk leaves in its folder
_COMMIT = re.compile("[0-9a-f]{40}")


Features = Mapping[str, Any]  # Any: datasets.Features, whose values are of many types


@functools.lru_cache(maxsize=8)
def selected(config: HuggingFaceConfig, split: str, columns: tuple[str, ...]) -> datasets.Dataset:
    """Returns some columns of a split that is prepared."""
    return prepared(config)[split].select_columns(list(columns))


@functools.lru_cache(maxsize=4)
def prepared(config: HuggingFaceConfig) -> dict[str, datasets.Dataset]:
    """Returns the splits, after copying them into the library's cache where they are not yet."""
    if is_saved(config):
        if config.config_name is not None:
            raise CorpusError(
                f"{config.where}: was written by save_to_disk and has no configurations; "
                "remove config_name"
            )
        saved = datasets.load_from_disk(config.where)
        splits = saved if isinstance(saved, dict) else {str(saved.split or "train"): saved}
    else:
        builder = _with_own_cache(config, builder_of(config))
        builder.download_and_prepare()
        splits = builder.as_dataset()
    return {str(name): split.with_format("arrow") for name, split in splits.items()}


@functools.lru_cache(maxsize=4)
def streams(config: HuggingFaceConfig) -> dict[str, datasets.IterableDataset]:
    """Returns the splits to be read as they are."""
    splits = builder_of(config).as_streaming_dataset()
    # of audio on the hub the library would fetch and decode each file while rows are listed
    return {str(n): s.decode(enable=False) if s.features else s for n, s in splits.items()}


@functools.lru_cache(maxsize=4)
def builder_of(config: HuggingFaceConfig) -> datasets.DatasetBuilder:
    """Returns what knows the data files of a dataset and how to read them.

    Raises:
        CorpusError: There is no such folder, or what it gives can't be relied on.
    """
    if config.hub_id is None and not is_folder(Path(config.where)):
        raise CorpusError(
            f"{config.path}: must be the folder of a dataset or the id of one on the Hugging Face "
            "Hub (name or owner/name), it is neither"
        )
    datasets.utils.logging.set_verbosity(logging.CRITICAL)  # what it logs, it raises as well
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()  # logs of scheduled runs stay short
    try:
        builder = _verifying_pages(
            datasets.load_dataset_builder(
                config.where, config.config_name, revision=config.revision
            )
        )
    except ConnectionError as error:
        raise CorpusError(
            f"{config.where}: is no folder here, the cache of datasets does not hold it, and the "
            f"Hugging Face Hub can't be asked: {error}; give the path of a folder, or prepare it "
            "once with a network and without HF_HUB_OFFLINE"
        ) from error
    _check_revision(config, builder)
    _check_order(config, builder)
    return builder


def _with_own_cache(
    config: HuggingFaceConfig, builder: datasets.DatasetBuilder
) -> datasets.DatasetBuilder:
    """Returns a builder whose place in the cache depends on the files of a folder.

    The library takes two folders for the same dataset that have the same name and the same
    `configs` in their README.md, and one folder for unchanged after its files did: see
    tests/corpora/test_huggingface_audio.py.
    """
    if config.hub_id is not None:
        return builder
    files = {
        str(split): [
            [str(path), *map(str, origin)]
            for path, origin in zip(found, found.origin_metadata, strict=True)
        ]
        for split, found in builder.config.data_files.items()
    }
    own = hash128(json.dumps(files, sort_keys=True))
    return _verifying_pages(
        datasets.load_dataset_builder(
            config.where, config.config_name, config_id=f"{builder.config.name}-{own}"
        )
    )


def _verifying_pages(builder: datasets.DatasetBuilder) -> datasets.DatasetBuilder:
    """Makes a builder compare the checksums of Parquet pages, where a file has them."""
    if isinstance(builder, Parquet):
        # not an argument of the loading, or the place in the cache would depend on it
        builder.config.fragment_scan_options = ParquetFragmentScanOptions(
            page_checksum_verification=True
        )
    return builder


def is_saved(config: HuggingFaceConfig) -> bool:
    """Tells whether a folder was written by `save_to_disk`."""
    return config.hub_id is None and any(Path(config.where, name).is_file() for name in _SAVED)


def features_of(stream: datasets.IterableDataset) -> Features:
    """Returns the columns of a stream; where the library can't tell, those of the first row."""
    if stream.features is not None:
        return dict(stream.features)
    first = next(iter(stream.with_format("arrow").iter(batch_size=1)), None)
    return {} if first is None else dict(datasets.Features.from_arrow_schema(first.schema))


def _check_revision(config: HuggingFaceConfig, builder: datasets.DatasetBuilder) -> None:
    """Offline, the library takes whichever revision its cache holds."""
    asked, found = config.revision or "", str(builder.hash)
    if _COMMIT.fullmatch(asked) and _COMMIT.fullmatch(found) and asked != found:
        raise CorpusError(
            f"{config.where}: the cache holds the revision {found}, not {asked}, and the Hugging "
            "Face Hub was not asked; run again without HF_HUB_OFFLINE, or set the other revision"
        )


def _check_order(config: HuggingFaceConfig, builder: datasets.DatasetBuilder) -> None:
    """Refuses folders of audio whose rows the library puts into another order in each process.

    It keeps the metadata files of a split in a set. A prepared dataset stands still, so that
    rows with ids of their own can be found in it again.
    """
    if not isinstance(builder, FolderBasedBuilder):
        return
    if "id" in config.columns.model_fields_set and not config.streaming:
        return
    for split, files in builder.config.data_files.items():
        tables = [f for f in files if PurePosixPath(f).name in builder.METADATA_FILENAMES]
        if len(tables) > 1:
            raise CorpusError(
                f"{config.where}: the split {split} has {len(tables)} metadata files, which "
                "datasets reads in no fixed order; make them one file, or set columns.id to a "
                "column that tells rows apart and streaming to false"
            )
