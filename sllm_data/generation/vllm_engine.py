"""vLLM behind the seam: the one module of the package that knows it.

Written for vLLM 0.26 to 0.33 and run with 0.32 (CPU build). One thread drives vLLM's
`LLMEngine`; the caller's thread only fills and empties queues:

    submit ─> inbox ─> [thread: add_request, step] ─> results ─> receive
                               │  ZeroMQ
                       EngineCore process (and its workers)

Why not `LLM.generate`: nothing comes back before all is done, so every call ends with a
half-empty batch. Why not `AsyncLLM`: one asyncio task and queue per request, for the same
steps. Why a thread: `step` waits for ever on a core that was killed, and only someone else
can notice; and parts are written while the next step runs.
"""

import gc
import logging
import queue
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from threading import Thread
from typing import Any

from sllm_data.errors import EngineError, SllmDataError
from sllm_data.generation.config import VllmConfig
from sllm_data.generation.engine_log import EngineLog
from sllm_data.generation.engine_processes import EngineProcesses
from sllm_data.generation.likeliest import from_vllm
from sllm_data.generation.vllm_start import (
    check_folder,
    check_version,
    environment,
    installed,
    settle,
)
from sllm_data.records import Reason, Rejection, Request, Response

_LOGGER = logging.getLogger("vllm")
_POLL_S = 1.0
_CLOSE_S = 15.0  # one that is killed meanwhile leaves its shared memory to be complained of
_STEP_S = 2.0
_SPARE = 1.5  # requests given to vLLM for each that fits a batch, so that a batch never waits

Answer = Response | Rejection


class VllmEngine:
    """An engine in this process; see `generation.engine.Engine`."""

    name = "vllm"
    prompt_mode = "ids"

    def __init__(
        self, engine: Any, config: VllmConfig, log: EngineLog, processes: "EngineProcesses"
    ) -> None:  # Any: vLLM's LLMEngine
        version, on_cpu = installed() or ("unknown", False)
        self.version = f"{version}+cpu" if on_cpu and "cpu" not in version else version
        self.determinism = config.determinism
        self.max_model_len = int(engine.vllm_config.model_config.max_model_len)
        scheduler = engine.vllm_config.scheduler_config
        self.max_in_flight = int(scheduler.max_num_seqs * _SPARE) + 1
        self._config = config
        self._engine = engine
        self._log = log
        self._processes = processes
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Answer | str] = queue.SimpleQueue()
        self._in_flight = 0
        self._last_news = time.monotonic()
        self._failure: EngineError | None = None
        self._closing = False
        self._thread = Thread(target=self._drive, name="vllm-engine", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, config: VllmConfig, *, verbose: bool = False) -> "VllmEngine":
        """Loads the model and starts vLLM's processes; takes from 20 seconds to minutes.

        Raises:
            EngineError: vLLM is not installed, of another version, or fails; with the cause.
            ModelError: The model folder is missing or incomplete.
        """
        on_cpu = check_version(installed())
        check_folder(config.model)
        log, processes = EngineLog(), EngineProcesses()
        try:
            with environment(config, on_cpu=on_cpu, verbose=verbose):
                with nullcontext() if verbose else log.capture(but_stderr=False):
                    from vllm import LLMEngine  # noqa: F401, PLC0415 - takes seconds, and writes
                with nullcontext() if verbose else log.capture(but_stderr=True):
                    engine = _llm_engine(config, on_cpu=on_cpu)
        except BaseException as error:
            processes.end()
            log.release(_LOGGER)
            if isinstance(error, SllmDataError) or not isinstance(error, Exception):
                log.discard()
                raise
            cause = log.cause(f"{type(error).__name__}: {error}")
            hint = log.hint
            if not hint:
                log.discard()
            raise EngineError(f"{config.model}: vLLM can't start: {cause}{hint}") from error
        log.start_anew()
        if not verbose:
            log.adopt(_LOGGER)
        processes.settle()
        return cls(engine, config, log, processes)

    def submit(self, request: Request) -> None:
        """Takes a request; one that can't fit comes back as a rejection.

        Raises:
            EngineError: The engine is dead.
        """
        if self._failure:
            raise self._failure
        if not self._in_flight:
            self._last_news = time.monotonic()
        self._in_flight += 1
        length = len(request.prompt_token_ids)
        if length >= self.max_model_len:
            self._results.put(
                _rejection(
                    request,
                    Reason.PROMPT_TOO_LONG,
                    f"prompt must leave room for an answer within {self.max_model_len} tokens, "
                    f"it has {length}",
                )
            )
        else:
            self._inbox.put(request)

    def receive(self) -> list[Answer]:
        """Waits for answers, a second at most.

        Raises:
            EngineError: The engine died, or made no token for `stall_timeout_s`.
        """
        if self._failure:
            raise self._failure
        if not self._in_flight:
            return []
        received: list[Answer] = []
        try:
            received.append(self._taken(self._results.get(timeout=_POLL_S)))
            while not self._results.empty():
                received.append(self._taken(self._results.get()))
        except queue.Empty:
            self._check_alive()
        self._in_flight -= len(received)
        return received

    def close(self) -> None:
        """Ends vLLM's processes; a second call does nothing."""
        if self._closing:
            return
        self._closing = True
        self._inbox.put(None)
        self._thread.join(timeout=_STEP_S)  # longer than a step only where the core is dead
        core = self._engine.engine_core
        core.shutdown(timeout=_CLOSE_S)
        if self._thread.is_alive():
            core.outputs_queue.put_nowait(EngineError("closed"))  # what `step` waits for
            self._thread.join(timeout=_STEP_S)
        self._processes.end()
        self._log.release(_LOGGER)
        if not self._failure:
            self._log.discard()
        with warnings.catch_warnings():
            # vLLM leaves its sockets' context to the garbage collector, which warns
            warnings.simplefilter("ignore", ResourceWarning)
            del core, self._engine
            gc.collect()

    def _taken(self, result: Answer | str) -> Answer:
        if isinstance(result, str):
            raise self._failed(result)
        return result

    def _check_alive(self) -> None:
        if not self._processes.are_alive():
            raise self._failed("its process was killed, most likely for memory")
        if time.monotonic() - self._last_news > self._config.stall_timeout_s:
            raise self._failed(f"no answer for {self._config.stall_timeout_s:g} s")

    def _failed(self, otherwise: str) -> EngineError:
        self._failure = EngineError(
            f"{self._config.model}: vLLM died: {self._log.cause(otherwise)}; run the same "
            f"command again to go on{self._log.hint}"
        )
        return self._failure

    def _drive(self) -> None:
        """The thread: gives requests to vLLM and steps it, until it is told to end."""
        running: dict[str, Request] = {}
        try:
            while not self._closing:
                for request in self._new_requests(wait=not running):
                    self._add(request, running)
                if running:
                    outputs = self._engine.step()
                    self._last_news = time.monotonic()  # tokens, also where none was the last
                    for output in outputs:
                        if output.finished:
                            request = running.pop(output.request_id)
                            self._results.put(self._response(request, output))
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            # its words only: its traceback would keep vLLM and its sockets alive
            self._results.put(f"{type(error).__name__}: {error}")

    def _new_requests(self, *, wait: bool) -> Iterator[Request]:
        while wait or not self._inbox.empty():
            request = self._inbox.get()
            wait = False
            if request is None:
                return
            yield request

    def _add(self, request: Request, running: dict[str, Request]) -> None:
        from vllm import SamplingParams  # noqa: PLC0415 - takes seconds
        from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415 - as above

        sampling = request.sampling
        try:
            params = SamplingParams(
                n=1,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                min_p=0.0,
                repetition_penalty=1.0,
                max_tokens=sampling.max_tokens,
                stop=list(sampling.stop),
                seed=request.seed,
                logprobs=self._config.top_logprobs or (0 if self._config.logprobs else None),
                flat_logprobs=bool(self._config.top_logprobs),
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            prompt = {"type": "token", "prompt_token_ids": list(request.prompt_token_ids)}
            self._engine.add_request(request.request_id, prompt, params)
        except _refusals() as error:
            detail = " ".join(str(error).split())[:300]
            self._results.put(_rejection(request, Reason.REFUSED_BY_ENGINE, detail))
        else:
            running[request.request_id] = request

    def _response(self, request: Request, output: Any) -> Response:  # Any: a RequestOutput
        completion = output.outputs[0]
        if completion.finish_reason not in ("stop", "length"):
            # abort: a signal reached the core; error: its own trouble, not the request's
            raise EngineError(
                f"{request.request_id}: vLLM ended it with {completion.finish_reason}"
            )
        token_ids = tuple(completion.token_ids)
        summed = completion.cumulative_logprob
        top = from_vllm(completion.logprobs) if self._config.top_logprobs else (None, None)
        return Response(
            request_id=request.request_id,
            text=completion.text,
            token_ids=token_ids,
            finish_reason=completion.finish_reason,
            num_prompt_tokens=len(request.prompt_token_ids),
            num_response_tokens=len(token_ids),
            num_cached_tokens=output.num_cached_tokens,
            mean_logprob=None if summed is None or not token_ids else summed / len(token_ids),
            top_token_ids=top[0],
            top_logprobs=top[1],
        )


def _llm_engine(config: VllmConfig, *, on_cpu: bool) -> Any:  # vLLM's LLMEngine
    from vllm import EngineArgs, LLMEngine  # noqa: PLC0415 - takes seconds
    from vllm.usage.usage_lib import UsageContext  # noqa: PLC0415 - as above

    if not on_cpu:
        check_gpus(config)
    fixed: dict[str, Any] = {  # Any: keyword arguments of several types
        "model": config.model,
        "revision": config.revision,
        "tokenizer_revision": config.revision,
        "dtype": config.dtype,
        "quantization": config.quantization,
        "load_format": "safetensors",
        "max_model_len": config.max_model_len,
        "tensor_parallel_size": config.tensor_parallel_size,
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "enforce_eager": config.enforce_eager,
        "seed": 0,
        "disable_log_stats": True,
    }
    longest = EngineArgs(**fixed).create_model_config().max_model_len if on_cpu else 1
    limits = settle(config, on_cpu=on_cpu, max_model_len=longest)
    arguments = EngineArgs(
        **fixed,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
        enable_prefix_caching=limits.prefix_caching,
        enable_chunked_prefill=not on_cpu,
    )
    return LLMEngine.from_engine_args(arguments, usage_context=UsageContext.LLM_CLASS)


def check_gpus(config: VllmConfig) -> None:
    """Checks that an engine's GPUs are in sight.

    Raises:
        EngineError: There are too few.
    """
    import torch  # noqa: PLC0415 - takes seconds

    found = torch.cuda.device_count()
    if found < config.tensor_parallel_size:
        raise EngineError(
            f"backbone needs {config.tensor_parallel_size} GPU(s) for each engine, {found} in "
            "sight; on a machine without a GPU run `make setup ACCEL=cpu`"
        )


def _refusals() -> tuple[type[Exception], ...]:
    """The exceptions by which vLLM refuses one request; later versions have their own."""
    import vllm  # noqa: PLC0415 - takes seconds

    own = getattr(getattr(vllm, "exceptions", None), "VLLMClientError", ValueError)
    return ValueError, TypeError, own


def _rejection(request: Request, reason: Reason, detail: str) -> Rejection:
    return Rejection(
        row_id=request.request_id,
        audio_id=request.audio_id,
        step="generate",
        reason=reason,
        detail=detail,
    )
