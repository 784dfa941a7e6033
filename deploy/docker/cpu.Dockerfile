# syntax=docker/dockerfile:1
# Tandem on a CPU. Build from the root of the checkout: docker build -f deploy/docker/cpu.Dockerfile -t tandem:cpu .
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/tandem
COPY . .
# Packages are the ones that were locked, by hash; the last line installs the two distributions of this checkout.
RUN python -m venv .venv \
 && .venv/bin/pip install --no-deps --require-hashes -r deploy/requirements/cpu.txt \
 && .venv/bin/pip install --no-deps --no-build-isolation . ./retrieval/langchain-plugin


FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="Tandem" \
      org.opencontainers.image.description="End-to-end retrieval for RAG, on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0"
# What engines compute with at run time: NUMA and threads. No compiler: engines run without compilation.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 libnuma1 libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home --home-dir /home/tandem tandem \
 && mkdir -p /data /models && chown 10001:10001 /data /models
COPY --from=build --chown=root:root /opt/tandem /opt/tandem
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
