"""The only reader of the environment. Frozen; checked once, at the start."""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.http.security.api_keys import digest_of
from ingestion.types import OcrMode
from retrieval.engines.http.dialects.names import WITHOUT_PRIORITY, DialectName
from retrieval.errors import ConfigurationError

PREFIX = "TANDEM_"
MAX_DEVICES = 64
MIN_TOKEN_SECRET_BYTES = 32
"""The size of the hash of HS256, as RFC 7518 requires."""
"""Maximum number of devices of one node."""
INTERNAL = frozenset({"load_format", "selftest_margin"})
"""Settings for tests and benchmarks with random weights. They are not documented and may change at any time."""
BUCKET_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w=-][\w.=-]*)*/?")
HOST_PATTERN = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|[0-9A-Fa-f:]+")
ENDPOINT = re.compile(r"https?://[\w.-]+(:\d{1,5})?/?|https?://\[[0-9a-f:]+\](:\d{1,5})?/?")


class Settings(BaseSettings):
    """The settings. Each is the environment variable `TANDEM_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on. By default only loopback.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 selects a free port.")
    data_dir: Path = Field(Path("data"), description="Folder of the embedded stores and of the originals.")

    models: str | None = Field(
        None,
        description="Model pair: qwen3-0.6b, qwen3-4b, qwen3-8b, e5 or minilm. Default: depends on the detected "
        "device.",
    )
    embed_model: str | None = Field(None, description="ModelScope id, Hugging Face id or folder of the embedder.")
    rerank_model: str | None = Field(None, description="The same for the reranker.")
    models_dir: Path = Field(Path("~/.cache/tandem/models"), description="Folder that downloads go to.")
    embed_dimension: int | None = Field(None, ge=32, le=8192, description="Reduced (MRL) dimension of the vectors.")
    max_model_len: int | None = Field(None, ge=64, description="Window of both models in tokens. Default: by profile.")

    engine: Literal["vllm", "http", "node"] = Field(
        "vllm", description="vllm: both models in this process; http: servers; node: a node's (tandem worker only)."
    )
    embed_url: str | None = Field(None, description="Base URL of the embedding server (engine http).")
    rerank_url: str | None = Field(None, description="Base URL of the rerank server (engine http).")
    embed_dialect: DialectName = Field(
        "vllm", description="What the embedding server is: vllm, vllm-ascend, sglang, tei, infinity (engine http)."
    )
    rerank_dialect: DialectName = Field("vllm", description="The same for the rerank server.")
    engine_priority: bool = Field(
        False,
        description="The servers schedule by priority: ingestion's requests are sent as less urgent (engine http).",
    )
    node_url: str | None = Field(
        None, pattern=r"^https?://", description="Base URL of the node whose embedder is used (engine node)."
    )
    engine_api_key: SecretStr | None = Field(
        None, description="Bearer token for the servers (engine http) or the node (engine node)."
    )
    embed_memory_share: float | None = Field(
        None, gt=0, lt=1, description="Share of the device's memory for the embedder."
    )
    rerank_memory_share: float | None = Field(
        None, gt=0, lt=1, description="Share of the device's memory for the reranker."
    )
    embed_replicas: int = Field(
        1, ge=1, le=8, description="Engines with the embedder's weights (engine vllm); each takes the embedder's share."
    )
    query_engine: bool | None = Field(
        None,
        description="Run an additional engine that embeds only queries, so that no query waits for documents (engine "
        "vllm). Default: true on a CUDA GPU with enough memory.",
    )
    tensor_parallel: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Devices that each model is split over (engine vllm), neighbours of those that are used. "
        "Default: 1; where models fit no single device, as many equal ones as they need.",
    )
    devices: Annotated[tuple[int, ...] | None, NoDecode] = Field(
        None,
        description="Devices that engines are placed on (engine vllm): their number, or a comma separated list that "
        "counts from 0, such as `0,2` or `2,`. Default: all visible devices that the models fit. On a "
        "CPU: the number of engine groups that share the cores; default: 1.",
    )
    placement: Literal["both", "by-role"] = Field(
        "both",
        description="both: each device has both models; by-role: the first half of the devices embeds, the others "
        "rerank (engine vllm).",
    )
    gate_tolerance: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Ingestion work that may be in flight when a search arrives, as a multiple of the search's own "
        "time. Default: 0.5; 0.7 if queries have a separate engine.",
    )
    load_format: Literal["auto", "dummy"] = Field(
        "auto",
        description="dummy: random weights of the models' shapes, to measure a machine; answers are meaningless.",
    )
    enforce_eager: bool = Field(
        False, description="Disable compilation and graphs: engines start faster and compute slower (engine vllm)."
    )
    engine_stall_seconds: float | None = Field(
        None,
        ge=5,
        description="An engine that has work and finishes none of it for this time counts as hung and is restarted "
        "(engine vllm). Default: 60; 120 on an NPU, 600 on a CPU.",
    )
    selftest_margin: bool = Field(
        True, description="Whether the self-test checks the ranking; off only for random test weights."
    )

    blobs: str | None = Field(
        None, description="Where originals are kept: a folder, or s3://bucket/prefix. Default: the data folder."
    )
    s3_endpoint: str | None = Field(None, description="URL of an S3 service that is not Amazon's, without the bucket.")
    s3_region: str | None = Field(None, description="Region of the bucket. Default: AWS_REGION, or us-east-1.")
    s3_style: Literal["path", "virtual"] = Field(
        "path", description="Bucket in the URL's path, or in its host name, as Aliyun OSS and Huawei OBS require."
    )
    s3_access_key: SecretStr | None = Field(
        None, description="Access key of the S3 service. Default: AWS_* or the machine's role."
    )
    s3_secret_key: SecretStr | None = Field(None, description="Secret of the access key.")

    milvus_uri: str | None = Field(None, description="Milvus server. Default: Milvus Lite in the data folder.")
    store_read_seconds: float = Field(
        15, ge=1, le=600, description="Timeout of a read or a search in the vector store."
    )
    store_write_seconds: float = Field(
        60, ge=1, le=600, description="Timeout of a write to the vector store, which is then retried."
    )
    milvus_token: SecretStr | None = Field(None, description="Token of the Milvus server, as user:password.")
    database_url: SecretStr | None = Field(None, description="postgresql://… Default: SQLite in the data folder.")

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Comma separated keys, in clear or as sha256:<64 hexadecimal digits>, with all rights. When set, "
        "every route except /health and /docs requires one of them, or one that `tandem keys create` "
        "made, as a bearer token.",
    )
    api_keys_file: Path | None = Field(
        None, description="File with further keys, one per line; # begins a comment. It is read again when it changes."
    )
    token_issuer: str | None = Field(
        None,
        description="Issuer (iss) of signed tokens (JWT) that name the groups of the person behind a request, for "
        "collections with principals. When set, TANDEM_TOKEN_AUDIENCE and one of TANDEM_TOKEN_SECRET and "
        "TANDEM_TOKEN_JWKS_FILE are needed too.",
    )
    token_audience: str | None = Field(None, description="Audience (aud) that tokens are issued for.")
    token_secret: SecretStr | None = Field(
        None, description="Secret that tokens are signed with by HS256; at least 32 bytes."
    )
    token_jwks_file: Path | None = Field(
        None,
        description="File with the issuer's public keys (JWKS), which verify tokens by RS, PS, ES or EdDSA. It is read "
        "again when it changes.",
    )
    token_groups_claim: str = Field(
        "groups", min_length=1, description="Claim of tokens that lists the groups; dots lead into objects."
    )
    token_key: str | None = Field(
        None,
        description="Id of a stored key. When set, a token is also accepted in place of a key, with the rights of this "
        "key.",
    )
    allow_keyless: bool = Field(
        False,
        description="Listen beyond the loopback address even without keys: everyone who can reach it has all rights.",
    )
    tls_cert: Path | None = Field(
        None, description="File with the node's certificate and its chain (PEM). When set, the node serves HTTPS only."
    )
    tls_key: Path | None = Field(
        None, description="File with the certificate's key (PEM, without a password). Both are read again when changed."
    )
    public_docs: bool = Field(True, description="/docs and /openapi.json require no key. They contain no stored data.")
    public_metrics: bool = Field(
        False, description="/metrics requires no key. Otherwise it requires one with scope admin."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma separated host names that requests may name, in addition to those of this machine; "
        "*.example.com for all below, * for any. Checked if there are no keys, or if this is set.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma separated addresses and networks of proxies whose X-Forwarded-For, -Proto and -Prefix are "
        "trusted.",
    )
    max_connections: int = Field(
        2000, ge=1, description="Maximum number of connections; fewer if file descriptors are scarce. Beyond it 503."
    )
    max_connections_per_address: int = Field(
        200,
        ge=1,
        description="Maximum number of connections from one address (IPv6: /64). This machine and trusted proxies "
        "have no such limit.",
    )
    max_streams: int = Field(200, ge=1, description="Maximum number of event streams; beyond it 429.")
    max_streams_per_address: int = Field(
        20, ge=1, description="Maximum number of event streams from one address, with the same exceptions."
    )
    request_seconds: float = Field(
        20,
        ge=1,
        le=3600,
        description="Time for a request's headers to arrive; after that its body must bring 1 KB a second.",
    )
    keep_alive_seconds: float = Field(30, ge=1, le=3600, description="An idle connection is closed after this time.")
    max_body_mb: int = Field(
        100, ge=1, le=4096, description="Largest request body. Routes that do not ingest accept less."
    )
    max_document_mb: int = Field(50, ge=1, le=2048, description="Largest single document.")
    max_unpacked_mb: int = Field(
        256,
        ge=1,
        le=4096,
        description="Largest total size of the unpacked members of the archives and mails of one request.",
    )
    disk_reserve_mb: int = Field(
        512,
        ge=0,
        description="Free space to keep on the disk of the data folder, at most a twentieth of the disk: below it, "
        "writes are refused (503 store_full) and ingestion waits. 0: no reserve.",
    )
    retention_days: int = Field(
        30,
        ge=0,
        le=36_500,
        description="Days after which ended jobs, with receipts and idempotency keys, are removed; 0: never.",
    )
    max_documents: int = Field(1000, ge=1, le=100_000, description="Maximum number of documents in one request.")
    max_queued: int = Field(
        100_000, ge=1, description="Documents waiting for ingestion; beyond it POST /ingest is 429."
    )
    max_candidates_in_flight: int = Field(
        8000,
        ge=1,
        description="Maximum number of candidates and highlighted sentences of all searches in flight; beyond it POST "
        "/search is 429.",
    )
    search_deadline_seconds: float = Field(
        60,
        ge=1,
        le=600,
        description="Longest time of a search. Candidates that are not reranked in time come last; a search that the "
        "node cannot answer in time is refused with 429.",
    )
    rerank_seconds: float = Field(
        1.2,
        gt=0,
        le=600,
        description="Time of reranking, on an idle node, for a search that does not state `candidates`: of the 50 "
        "best ones as many are reranked as the speed measured at the start allows, at least `top_k`.",
    )
    max_texts_in_flight: int = Field(
        4096,
        ge=1,
        description="Maximum number of texts being embedded for other processes; beyond it POST /embed is 429.",
    )

    own_token_ids: bool = Field(
        False,
        description="Treat token ids sent to /v1/embeddings as ids of the served model. By default a request has to "
        "state this (`own_token_ids`), because clients that send ids automatically use another tokenizer.",
    )

    workers: int = Field(
        3, ge=0, le=64, description="Concurrent ingestion batches of a process for each device; 0: no ingestion."
    )
    worker_processes: int = Field(
        0,
        ge=0,
        le=64,
        description="Child processes of the node that ingest instead of the node itself; they need a Milvus server.",
    )
    worker_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the /metrics, /health/live and /health/ready of `tandem worker`; unset: none. Without "
        "TANDEM_PUBLIC_METRICS it listens on 127.0.0.1 only, since no key is asked for. Worker processes of a node "
        "report to the node's /metrics instead.",
    )
    worker_batch: int = Field(64, ge=1, le=1024, description="Documents that a worker claims at once.")
    lease_seconds: float = Field(
        60, ge=1, description="Another worker takes over the documents of a worker that is silent for this long."
    )
    max_attempts: int = Field(
        5, ge=1, le=100, description="Attempts before a document counts as failed; outages do not count."
    )
    parser_processes: int = Field(
        1, ge=1, le=64, description="Child processes that read and chunk documents, except short texts."
    )
    document_seconds: int = Field(
        60, ge=1, le=3600, description="Processor time that reading and chunking one document may take."
    )
    ocr: OcrMode = Field(
        "auto",
        description="auto: OCR reads pictures and pages without text; always: pictures and all pages of PDF files; "
        "never: none, and no request can enable it. Otherwise a request may choose.",
    )
    ocr_pages: int = Field(200, ge=1, le=20_000, description="Maximum number of pages of one document that OCR reads.")
    ocr_seconds: int = Field(
        600, ge=1, le=36_000, description="Processor time that OCR of one document may take; later pages are skipped."
    )
    drain_seconds: float = Field(
        20,
        ge=0,
        description="Time that a stopping node waits for work in flight; the process exits at most 15 s later.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level that is logged.")
    log_json: bool = Field(False, description="One JSON object per line instead of text.")

    @field_validator("port", mode="before")
    @classmethod
    def _no_service_link(cls, value: object) -> object:
        if isinstance(value, str) and value.startswith(("tcp://", "udp://")):
            raise ValueError(
                "an address instead of a number: Kubernetes sets this for a Service named tandem. Set "
                "enableServiceLinks: false in the pod, or give the Service another name"
            )
        return value

    @field_validator("api_keys", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(each.strip() for each in value.split(",") if each.strip())
        return value

    @field_validator("devices", mode="before")
    @classmethod
    def _count_or_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        numbers = [each.strip() for each in value.split(",")]
        if not all(each.isdecimal() for each in numbers if each) or not any(numbers):
            raise ValueError("a number of devices, or their numbers divided by commas")
        if len(numbers) == 1:
            return tuple(range(int(numbers[0])))
        return tuple(int(each) for each in numbers if each)

    @field_validator("devices")
    @classmethod
    def _some_devices(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or len(set(value)) < len(value) or max(value) >= MAX_DEVICES):
            raise ValueError(f"at least one device, each once, and none above {MAX_DEVICES - 1}")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not HOST_PATTERN.fullmatch(each):
                raise ValueError(f"{each!r} is not a host name: neither scheme nor port belongs there")
        return tuple(each.lower() for each in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each, strict=False)  # its error says what is wrong
        return value

    @field_validator("api_keys")
    @classmethod
    def _whole_hashes(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            digest_of(key.get_secret_value())
        return value

    @field_validator("data_dir", "models_dir", "api_keys_file", "token_jwks_file", "tls_cert", "tls_key")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @field_validator("blobs")
    @classmethod
    def _folder_or_bucket(cls, value: str | None) -> str | None:
        if value and "://" in value and not BUCKET_URL.fullmatch(value):
            raise ValueError("neither a folder nor s3://bucket/prefix (a prefix of letters, digits and . _ - =)")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value and not ENDPOINT.fullmatch(value):
            raise ValueError("not an address like https://host:port")
        return value

    @property
    def requires_keys(self) -> bool:
        """Whether callers need an API key."""
        return bool(self.api_keys or self.api_keys_file)

    @property
    def parts(self) -> int:
        """Number of devices that each model is split over unless more are decided on."""
        return self.tensor_parallel or 1

    @model_validator(mode="after")
    def _certificate_with_key(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TANDEM_TLS_CERT and TANDEM_TLS_KEY are set together or not at all")
        if self.tls_cert and self.worker_processes:
            raise ValueError(
                "TANDEM_TLS_CERT: worker processes reach the node over plain HTTP; leave TANDEM_WORKER_PROCESSES at 0, "
                "or end TLS at a proxy"
            )
        return self

    @model_validator(mode="after")
    def _tokens(self) -> "Settings":
        given = [self.token_issuer, self.token_audience, self.token_secret or self.token_jwks_file]
        if any(given) or self.token_key:
            if not all(given) or (self.token_secret and self.token_jwks_file):
                raise ValueError(
                    "TANDEM_TOKEN_ISSUER, TANDEM_TOKEN_AUDIENCE and one of TANDEM_TOKEN_SECRET and "
                    "TANDEM_TOKEN_JWKS_FILE are set together or not at all"
                )
            if not self.requires_keys:
                raise ValueError("TANDEM_TOKEN_ISSUER needs TANDEM_API_KEYS or TANDEM_API_KEYS_FILE")
        if self.token_secret and len(self.token_secret.get_secret_value().encode()) < MIN_TOKEN_SECRET_BYTES:
            raise ValueError(f"TANDEM_TOKEN_SECRET: at least {MIN_TOKEN_SECRET_BYTES} bytes (openssl rand -hex 32)")
        return self

    @model_validator(mode="after")
    def _both_keys(self) -> "Settings":
        if (self.s3_access_key is None) != (self.s3_secret_key is None):
            raise ValueError("TANDEM_S3_ACCESS_KEY and TANDEM_S3_SECRET_KEY are set together or not at all")
        return self

    @model_validator(mode="after")
    def _urls_of_engines(self) -> "Settings":
        if self.engine == "http":
            missing = [name for name in ("embed_url", "rerank_url") if getattr(self, name) is None]
            if missing:
                names = " and ".join(PREFIX + name.upper() for name in missing)
                raise ValueError(f"TANDEM_ENGINE=http needs {names}")
            if self.engine_priority and self.embed_dialect in WITHOUT_PRIORITY:
                raise ValueError(f"TANDEM_ENGINE_PRIORITY: {self.embed_dialect} has no priorities")
        if self.engine == "node" and self.node_url is None:
            raise ValueError("TANDEM_ENGINE=node needs TANDEM_NODE_URL")
        if self.engine != "vllm" and self.load_format == "dummy":
            raise ValueError("TANDEM_LOAD_FORMAT=dummy needs TANDEM_ENGINE=vllm")
        if self.engine != "vllm" and self.query_engine:
            raise ValueError("TANDEM_QUERY_ENGINE=true needs TANDEM_ENGINE=vllm")
        return self


def cuda_visible_devices() -> str | None:
    """Returns the value of CUDA's own variable: the devices that this process may use, in their order."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") or None


def trace_endpoint() -> str | None:
    """OpenTelemetry's own variable: the collector that traces go to; None: traces are off."""
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None


def load_settings(**overrides: object) -> Settings:
    """Reads the environment; `overrides` win. Raises ConfigurationError with one line that names the setting."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by pydantic, which is the point
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"]:
            name = PREFIX + str(first["loc"][0]).upper()
            secret = isinstance(first["input"], SecretStr) or name.endswith(("KEY", "KEYS", "TOKEN", "DATABASE_URL"))
            shown = "" if secret else f"={str(first['input'])[:80]!r}"
            raise ConfigurationError(f"{name}{shown}: {first['msg'].removeprefix('Value error, ')}") from None
        raise ConfigurationError(first["msg"].removeprefix("Value error, ")) from None


def visible_npus() -> tuple[int, ...] | None:
    """Returns the Ascend devices that ASCEND_RT_VISIBLE_DEVICES leaves to this process; None: all. It is CANN's own
    variable, which every engine inherits. Raises ConfigurationError.
    """
    value = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "").strip()
    numbers = [number.strip() for number in value.split(",")] if value else []
    if not all(number.isdecimal() for number in numbers):
        raise ConfigurationError(
            f"ASCEND_RT_VISIBLE_DEVICES={value[:80]!r}: device numbers divided by commas are wanted, such as 0 or 0,1"
        )
    return tuple(map(int, numbers)) or None
