"""tandem serve: runs the node until it receives a signal."""

import os
import signal
import socket
import sys
from pathlib import Path

import structlog
from rich.console import Console

from app.http.security.origins import is_loopback
from app.http.server.run import Server, connections_of, server_config
from app.http.server.tls import Certificate
from app.main import create_app
from app.node import descriptors
from app.node.allocator import give_large_blocks_back
from app.node.last_resort import end_after
from app.node.private_files import keep_files_private, warn_if_readable
from app.node.tokenizer_threads import bound_tokenizer_threads
from app.settings import Settings
from app.telemetry.logs import configure_logging
from app.wiring.models import build_profile, require_engine_version
from app.wiring.placement import check_memory
from app.wiring.plan_table import device_table
from retrieval.errors import ConfigurationError, TandemError

log = structlog.get_logger()

SWITCH_SECONDS = 0.0005
"""Switch interval of the GIL. A search returns to the event loop a dozen times, and waits up to this long each time for
the threads that check and chunk documents; Python's default of 5 ms is noticeable.
"""

CLOSE_SECONDS = 1
"""Time for connections to close after every request has been answered."""
STOP_SECONDS = 15
"""Beyond the drain time: for engines, stores and children to end. What has not by then is ended."""


def serve(settings: Settings) -> int:
    """Runs the node. Returns the exit status: 0 after a requested stop, 1 if the node could not start. Raises
    ConfigurationError for settings that are wrong from the start.
    """
    _require_keys(settings)
    configure_logging(settings.log_level, as_json=settings.log_json)
    sys.setswitchinterval(SWITCH_SECONDS)
    give_large_blocks_back()
    bound_tokenizer_threads()
    keep_files_private()
    _prepare(settings.data_dir)
    require_engine_version(settings)
    placement = check_memory(settings, build_profile(settings))
    if placement and placement.rows and not settings.log_json:
        Console(stderr=True).print(device_table(placement.rows))
    listener = _listen(settings)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    if not settings.requires_keys and not is_loopback(settings.host):
        log.warning("anyone who reaches this address may read and delete documents: TANDEM_ALLOW_KEYLESS is set")
    if settings.requires_keys and not settings.tls_cert and not is_loopback(settings.host):
        log.warning(
            "API keys cross the network in the clear, unless a proxy with TLS is in front: set TANDEM_TLS_CERT and "
            "TANDEM_TLS_KEY, or listen where only the proxy is",
            host=settings.host,
        )
    certificate = Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    failures: list[TandemError] = []

    def stop(error: TandemError) -> None:
        failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    app = create_app(settings, on_failure=stop)
    descriptors_limit = descriptors.raise_limit()
    connections = connections_of(settings, app.state.metrics)
    config = server_config(app, settings, connections, stop_seconds=CLOSE_SECONDS)

    async def drain() -> None:
        end_after(settings.drain_seconds + STOP_SECONDS)
        log.info("stopping", at_most_s=settings.drain_seconds + STOP_SECONDS)
        await app.state.runner.drain()

    # uvicorn hands the signal on after its own orderly stop, and the default action would make that look like a crash.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1 if failures else 0))
    log.info(
        "listening",
        url=f"http{'s' if certificate else ''}://{settings.host}:{settings.port}",
        data=str(settings.data_dir),
        connections=connections.bound,
        file_descriptors=descriptors_limit,
    )
    Server(config, app.state.in_flight, drain, drain_seconds=settings.drain_seconds, certificate=certificate).run(
        sockets=[listener]
    )
    return 1 if failures else 0


def _require_keys(settings: Settings) -> None:
    if not (settings.requires_keys or settings.allow_keyless or is_loopback(settings.host)):
        raise ConfigurationError(
            f"TANDEM_HOST={settings.host}: anyone who reaches this address could read and delete documents. Set "
            "TANDEM_API_KEYS, or TANDEM_ALLOW_KEYLESS=true where that is meant."
        )


def _prepare(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"TANDEM_DATA_DIR={data_dir}: cannot be created ({error.strerror}).") from error
    if not os.access(data_dir, os.W_OK):
        raise ConfigurationError(f"TANDEM_DATA_DIR={data_dir}: cannot be written to.")
    warn_if_readable(data_dir)


def _listen(settings: Settings) -> socket.socket:
    """Binds the port before anything else is started, so that a second node on the port fails at once."""
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"TANDEM_PORT={settings.port}: {settings.host}:{settings.port} cannot be listened on ({error.strerror})."
        ) from error
    # asyncio does so only for sockets of its own; without it an answer can wait 40 ms for the client's delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
