# The environment of .ci/setup with the project in it, for one machine or for the workers of
# docker-compose.yaml; docs/deployment.md says how to build and run it.
#
# ACCEL=cpu or gpu, as for make setup. The wheels of torch and vLLM bring CUDA's libraries
# in the version that they were built with, so NVIDIA's smallest image is enough.
ARG ACCEL=gpu

FROM ubuntu:24.04 AS base-cpu

FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS base-gpu

# hadolint ignore=DL3006
FROM base-${ACCEL} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# A version pinned here would be gone from Ubuntu's archive with the next security fix.
# ffmpeg is torchcodec's; g++ and Python's headers are for what Triton and torch compile.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates ffmpeg g++ libnuma1 python3 python3-dev python3-venv tini \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/sllm-data


FROM base AS environment
ARG ACCEL
ENV UV_COMPILE_BYTECODE=1 UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy
COPY pyproject.toml ./
COPY .ci/setup .ci/pins-cpu.txt .ci/pins-gpu.txt .ci/
# README.md is only the description in the package's metadata; its changes build nothing anew.
# What installed the packages is not needed where they run, and the heaviest folders become
# layers of their own: no layer then has to be pulled or pushed in one piece of many GB.
RUN --mount=type=cache,target=/var/cache/uv \
    touch README.md \
    && ACCEL="$ACCEL" .ci/setup \
    && rm -rf .venv/.uv \
    && packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && for heavy in nvidia torch; do \
        mkdir -p "/layers/$heavy$packages" \
        && mv "$packages/$heavy" "/layers/$heavy$packages/"; \
    done


FROM base
# Files belong to root, so nothing that runs can change the code; /out and its own home are
# the user's. Docker makes a volume's folder that is not here as root, and those above it.
RUN useradd --uid 10001 --user-group --create-home --home-dir /var/lib/sllm-data \
        --shell /usr/sbin/nologin sllm \
    && install -d -o sllm -g sllm /data /out \
        /var/lib/sllm-data/.cache /var/lib/sllm-data/.cache/huggingface \
        /var/lib/sllm-data/copies
ENV PATH=/opt/sllm-data/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
# Not a secret, though its name has a TOKEN in it.
# hadolint ignore=DL3064
ENV TOKENIZERS_PARALLELISM=false
COPY --from=environment /layers/nvidia/ /
COPY --from=environment /layers/torch/ /
COPY --from=environment /opt/sllm-data/.venv .venv
COPY instruction_pools instruction_pools
COPY prompts prompts
COPY prefect.yaml ./
COPY flows flows
COPY sllm_data sllm_data
RUN python -m compileall -q flows sllm_data
USER 10001:10001
# Of any container: fails where the packages are not the ones that the project states, or
# the output can't be written. docker-compose.yaml asks servers and workers themselves.
HEALTHCHECK --interval=5m --timeout=60s --start-period=30s --retries=2 \
    CMD ["sllm-data", "doctor", "--quick", "--output", "/out"]
ENTRYPOINT ["tini", "--"]
CMD ["sllm-data", "doctor", "--output", "/out"]
