"""All layouts by name."""

from collections.abc import Mapping

from sllm_data.exporting.chat_files import LLAMA_FACTORY, MS_SWIFT
from sllm_data.exporting.desta import DESTA
from sllm_data.exporting.huggingface import HUGGINGFACE
from sllm_data.exporting.layout import Layout
from sllm_data.exporting.nemo import NEMO, NEMO_SINGLE
from sllm_data.exporting.salmonn import SALMONN
from sllm_data.exporting.shar import LHOTSE_SHAR
from sllm_data.exporting.ultravox import ULTRAVOX
from sllm_data.exporting.webdataset import WEBDATASET

FORMATS: Mapping[str, Layout] = {
    "huggingface": HUGGINGFACE,
    "ms-swift": MS_SWIFT,
    "llama-factory": LLAMA_FACTORY,
    "nemo": NEMO,
    "nemo-single": NEMO_SINGLE,
    "salmonn": SALMONN,
    "desta": DESTA,
    "ultravox": ULTRAVOX,
    "webdataset": WEBDATASET,
    "lhotse-shar": LHOTSE_SHAR,
}
