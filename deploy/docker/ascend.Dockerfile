# syntax=docker/dockerfile:1
# Tandem on Ascend NPUs (Atlas A2), on top of vllm-ascend's image; A3 and 310P: --build-arg BASE_TAG=v0.23.0-a3 (-310p).
# Build from the root of the checkout: docker build -f deploy/docker/ascend.Dockerfile -t tandem:ascend .
# At run time user 10001 needs the group of /dev/davinci*, which is the host's: --group-add "$(stat -c %g /dev/davinci0)".
ARG BASE_TAG=v0.23.0
FROM quay.io/ascend/vllm-ascend:${BASE_TAG}
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
LABEL org.opencontainers.image.title="Tandem" \
      org.opencontainers.image.description="End-to-end retrieval for RAG, on Ascend NPUs" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/tandem
COPY . .
# Only what the base image lacks is installed: its vLLM, CANN and torch-npu belong together. One stage: CANN compiles
# operators at run time. The user is in /etc/passwd because HCCL looks it up where a model is split over devices.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN --mount=type=cache,target=/root/.cache/pip \
    source deploy/docker/ascend-environment.sh \
 && deploy/setup.sh .venv ascend \
 && .venv/bin/python -m compileall -q app ingestion retrieval \
 && groupadd --gid 10001 tandem \
 && useradd --uid 10001 --gid 10001 --create-home --home-dir /home/tandem tandem \
 && install -d -o 10001 -g 10001 /data /models
ENV HOME=/home/tandem PATH=/opt/tandem/.venv/bin:$PATH \
    TANDEM_HOST=0.0.0.0 TANDEM_DATA_DIR=/data TANDEM_MODELS_DIR=/models TANDEM_LOG_JSON=true
USER 10001
WORKDIR /home/tandem
VOLUME ["/data", "/models"]
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=900s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
# CANN's environment comes from scripts that the base image sources in root's shells only.
ENTRYPOINT ["/bin/bash", "-c", "source /opt/tandem/deploy/docker/ascend-environment.sh && exec tandem \"$@\"", "tandem"]
CMD ["serve"]
