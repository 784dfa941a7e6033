# syntax=docker/dockerfile:1
# Tandem on Ascend NPUs (Atlas A2), on top of vllm-ascend's image; A3 and 310P: --build-arg BASE_TAG=v0.23.0-a3 (-310p).
# Build from the root of the checkout: docker build -f deploy/docker/ascend.Dockerfile -t tandem:ascend .
ARG BASE_TAG=v0.23.0
FROM quay.io/ascend/vllm-ascend:${BASE_TAG}
LABEL org.opencontainers.image.title="Tandem" \
      org.opencontainers.image.description="End-to-end retrieval for RAG, on Ascend NPUs" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/tandem
COPY . .
# Only what the base image lacks is installed: its vLLM, CANN and torch-npu belong together.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN deploy/setup.sh .venv ascend \
 && useradd --uid 10001 --create-home --home-dir /home/tandem tandem \
 && mkdir -p /data /models && chown 10001:10001 /data /models
ENV PATH=/opt/tandem/.venv/bin:$PATH \
    TANDEM_HOST=0.0.0.0 TANDEM_DATA_DIR=/data TANDEM_MODELS_DIR=/models TANDEM_LOG_JSON=true
USER 10001
WORKDIR /home/tandem
VOLUME ["/data", "/models"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=900s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["tandem"]
CMD ["serve"]
