"""A renderer, a plain dataset, and a way to open packs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_datasets import BACKBONE, GEOMETRY, make

from sllm_data.chat import ChatRenderer
from sllm_data.trainer.data.config import DataConfig, DatasetEntry
from sllm_data.trainer.data.loader import PackStream, open_packs


@pytest.fixture(scope="session")
def renderer() -> ChatRenderer:
    return ChatRenderer.load(BACKBONE)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 rows in 4 parts, nothing odd."""
    return make().write(tmp_path_factory.mktemp("plain"))


Open = Callable[..., PackStream]


@pytest.fixture(scope="session")
def opened(renderer: ChatRenderer) -> Open:
    """Opens the packs of datasets; further arguments are of the configuration or of open_packs."""

    def open_them(*paths: Path | DatasetEntry, seed: int = 1, **options: Any) -> PackStream:
        entries = [p if isinstance(p, DatasetEntry) else DatasetEntry(path=p) for p in paths]
        given = {"budget": 150, "shuffle_window": 16, "lookahead": 6, "workers": 0}
        of_config = {k: v for k, v in options.items() if k in DataConfig.model_fields}
        rest = {k: v for k, v in options.items() if k not in of_config}
        config = DataConfig(datasets=tuple(entries), **(given | of_config))
        return open_packs(config, renderer=renderer, geometry=GEOMETRY, seed=seed, **rest)

    return open_them
