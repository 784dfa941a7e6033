# syntax=docker/dockerfile:1
# Tandem on NVIDIA GPUs, on top of vLLM's own image, whose CUDA, torch and vLLM stay as they are.
# Build from the root of the checkout: docker build -f deploy/docker/cuda.Dockerfile -t tandem:cuda .
FROM vllm/vllm-openai:v0.32.0
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
LABEL org.opencontainers.image.title="Tandem" \
      org.opencontainers.image.description="End-to-end retrieval for RAG, on NVIDIA GPUs" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
WORKDIR /opt/tandem
COPY . .
# Only what the base image lacks is installed, by hash: no second vLLM. One stage, since the compiler of the base image
# has to stay: vLLM compiles kernels with it when an engine starts.
RUN --mount=type=cache,target=/root/.cache/pip \
    deploy/setup.sh --on-image .venv cuda \
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
ENTRYPOINT ["tandem"]
CMD ["serve"]
