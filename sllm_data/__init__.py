"""sllm-data: speech-recognition corpora in, training data for speech LLMs out."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sllm-data")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
