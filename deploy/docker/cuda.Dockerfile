# syntax=docker/dockerfile:1
# Tandem on NVIDIA GPUs, on top of vLLM's own image, whose CUDA and torch stay as they are.
# Build from the root of the checkout: docker build -f deploy/docker/cuda.Dockerfile -t tandem:cuda .
FROM vllm/vllm-openai:v0.32.0
LABEL org.opencontainers.image.title="Tandem" \
      org.opencontainers.image.description="End-to-end retrieval for RAG, on NVIDIA GPUs" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/tandem
COPY . .
# An environment of its own with what cuda.txt locks. The compiler of the base image stays: vLLM compiles kernels with
# it when an engine starts.
RUN python3 -m venv .venv \
 && .venv/bin/pip install --no-deps --require-hashes -r deploy/requirements/cuda.txt \
 && .venv/bin/pip install --no-deps --no-build-isolation . ./retrieval/langchain-plugin \
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
