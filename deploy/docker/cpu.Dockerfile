# syntax=docker/dockerfile:1
# Tandem on a CPU. Build from the root of the checkout: docker build -f deploy/docker/cpu.Dockerfile -t tandem:cpu .
# Another package index: --build-arg PIP_INDEX_URL=https://... (pip reads the variable during the build only).
FROM python:3.11.14-slim-bookworm AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
WORKDIR /opt/tandem
COPY . .
# As `make setup`: packages by hash, and torch's CPU build from PyTorch's own index, since PyPI has it for CUDA only.
RUN --mount=type=cache,target=/root/.cache/pip \
    deploy/setup.sh .venv cpu \
 && .venv/bin/python -m compileall -q app ingestion retrieval


FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="Tandem" \
      org.opencontainers.image.description="End-to-end retrieval for RAG, on a CPU" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# What engines compute with: OpenMP and NUMA. No compiler: engines run without compilation (TANDEM_ENFORCE_EAGER).
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 libnuma1 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 tandem \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /home/tandem tandem \
 && install -d -o 10001 -g 10001 /data /models
COPY --from=build /opt/tandem /opt/tandem
ENV PATH=/opt/tandem/.venv/bin:$PATH \
    TANDEM_HOST=0.0.0.0 TANDEM_DATA_DIR=/data TANDEM_MODELS_DIR=/models TANDEM_ENFORCE_EAGER=true TANDEM_LOG_JSON=true
USER 10001
WORKDIR /home/tandem
VOLUME ["/data", "/models"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=300s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["tandem"]
CMD ["serve"]
