"""From a model's name to its tokenizer: a folder or a hub id, its exact revision, one error.

Only tokenizer files are fetched; weights are the engine's business. Nothing here knows what a
chat template is used for.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from sllm_data.errors import ModelError
from sllm_data.files import is_folder

_TOKENIZER_FILES = (
    "*token*.json",
    "*.model",
    "*.tiktoken",
    "vocab.*",
    "merges.txt",
    "tekken.json",
)
_TEMPLATE_FILES = ("config.json", "chat_template*", "additional_chat_templates/*")
_HAS_TOKENIZER = ("tokenizer.json", "*.model", "*.tiktoken", "vocab.*", "tekken.json")
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_END_BYTES = 65_536
_GENERAL = "TokenizersBackend"


def locate(model: str, *, revision: str | None) -> tuple[Path, str]:
    """Finds the folder that holds a model's tokenizer, and the revision to record.

    Returns:
        The folder, and the commit hash of a hub model or `local-<16 hexadecimal digits>`.

    Raises:
        ModelError: There is no such folder or hub model, or it can't be reached.
    """
    folder = Path(model).expanduser()
    if is_folder(folder):
        if revision is not None:
            raise ModelError(
                f"{model}: revision {revision!r} is only for models from the hub, and this is "
                "a folder; leave revision out"
            )
        return folder, _local_revision(folder)
    if model.startswith(("/", ".", "~")) or model.count("/") > 1:
        raise ModelError(f"{model}: there is no such model folder; check backbone.model")
    return _from_hub(model, revision)


def load_tokenizer(folder: Path, *, model: str) -> Any:  # a transformers class without types
    """Loads the tokenizer of a folder.

    Returns:
        A transformers tokenizer with a Rust backend (`backend_tokenizer`).

    Raises:
        ModelError: There is none, it can't be read, or it has no Rust backend.
    """
    if not any(any(folder.glob(pattern)) for pattern in _HAS_TOKENIZER):
        raise ModelError(
            f"{model}: has no tokenizer (no tokenizer.json); put the model's tokenizer files "
            f"into {folder} or choose a complete model"
        )
    try:
        tokenizer = _loader_of(folder).from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:  # a broken tokenizer.json raises exactly Exception, from Rust
        raise ModelError(
            f"{model}: its tokenizer can't be loaded ({_first_line(error)}); "
            "get the tokenizer files again or choose another model"
        ) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            f"{model}: its tokenizer {type(tokenizer).__name__} has no Rust backend; "
            "choose a model that ships a tokenizer.json"
        )
    return tokenizer


def _loader_of(folder: Path) -> Any:  # as above
    """Returns the class that loads a folder's tokenizer.

    AutoTokenizer imports torch and all of generation, for some ten seconds. A tokenizer that
    transformers 5 saved as its general class needs none of that.
    """
    if _is_general(folder):
        from transformers import TokenizersBackend  # noqa: PLC0415 - its import takes a second

        return TokenizersBackend
    from transformers import AutoTokenizer  # noqa: PLC0415 - its import takes seconds

    return AutoTokenizer


def _is_general(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    if not (config.is_file() and (folder / "tokenizer.json").is_file()):
        return False
    try:
        found = json.loads(config.read_bytes())
    except ValueError:  # AutoTokenizer says what is wrong with it
        return False
    return (
        isinstance(found, dict)
        and found.get("tokenizer_class") == _GENERAL
        and "auto_map" not in found
    )


def _from_hub(model: str, revision: str | None) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - its import takes a second
    from huggingface_hub.errors import (  # noqa: PLC0415 - as above
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    at = f" at revision {revision}" if revision else ""
    try:
        snapshot = snapshot_download(
            model, revision=revision, allow_patterns=[*_TOKENIZER_FILES, *_TEMPLATE_FILES]
        )
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{model}: there is no such folder, and the hub's cache does not hold this "
            f"model{at} while the hub is out of reach; unset HF_HUB_OFFLINE, download the "
            "model first, or give the path of its folder"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ModelError(
            f"{model}: there is no such folder, and the hub gives no such model{at} "
            f"({_first_line(error)}); check the name, or log in if it is gated"
        ) from error
    return Path(snapshot), Path(snapshot).name


def _local_revision(folder: Path) -> str:
    # Whole weight files would take minutes to hash. Two checkpoints of one model have equal
    # sizes and tokenizers, so the first and last bytes of each file go in as well.
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json"):
        file = folder / name
        digest.update(f"{name}\n".encode())
        digest.update(file.read_bytes() if file.is_file() else b"")
    for file in sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        size = file.stat().st_size
        digest.update(f"\n{file.name} {size}\n".encode())
        with file.open("rb") as content:
            digest.update(content.read(_END_BYTES))
            content.seek(max(0, size - _END_BYTES))
            digest.update(content.read(_END_BYTES))
    return f"local-{digest.hexdigest()[:16]}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__
