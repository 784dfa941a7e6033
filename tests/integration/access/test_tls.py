"""TLS at the node: what is read at the start, and a certificate that is renewed while the node runs."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from pydantic import ValidationError
from structlog.testing import capture_logs

from app.http.server.in_flight import InFlightRequests
from app.http.server.run import Server, connections_of, server_config
from app.http.server.tls import Certificate
from app.settings import Settings
from app.telemetry.metrics import Metrics
from retrieval.errors import ConfigurationError


def write(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    certificate_file, key_file = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return certificate_file, key_file


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[str, Certificate, Path, Path]]:
    certificate_file, key_file = write(tmp_path, "served")
    certificate = Certificate(certificate_file, key_file)
    app, settings = FastAPI(), Settings()

    @app.get("/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    async def drain() -> None:
        pass

    config = server_config(app, settings, connections_of(settings, Metrics()), stop_seconds=1)
    server = Server(config, InFlightRequests(), drain, drain_seconds=1, certificate=certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"127.0.0.1:{listener.getsockname()[1]}", certificate, certificate_file, key_file
        server.should_exit = True
        await serving


async def get(address: str, trusted: Path) -> int:
    context = ssl.create_default_context(cafile=str(trusted))
    async with httpx.AsyncClient(verify=context) as http:
        return (await http.get(f"https://{address}/live")).status_code


async def test_the_node_speaks_https_alone(served: tuple[str, Certificate, Path, Path]) -> None:
    address, certificate, trusted, _ = served
    assert await get(address, trusted) == 200
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2
    async with httpx.AsyncClient() as http:
        with pytest.raises(httpx.HTTPError):
            await http.get(f"http://{address}/live")


async def test_a_renewed_certificate_is_served_without_a_restart(
    served: tuple[str, Certificate, Path, Path], tmp_path: Path
) -> None:
    address, certificate, certificate_file, key_file = served
    before = tmp_path / "before.crt"
    before.write_bytes(certificate_file.read_bytes())
    new_certificate, new_key = write(tmp_path, "renewed")
    certificate_file.write_bytes(new_certificate.read_bytes())  # the key is yet to come
    with capture_logs() as logs:
        certificate.look()
    assert [each["log_level"] for each in logs] == ["error"]
    assert await get(address, before) == 200
    key_file.write_bytes(new_key.read_bytes())
    certificate.look()
    assert await get(address, new_certificate) == 200
    with pytest.raises(httpx.ConnectError):
        await get(address, before)


def test_what_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    certificate, key = write(tmp_path, "one")
    _, other = write(tmp_path, "other")
    _, locked = write(tmp_path, "locked", b"a password")
    for wrong in ((certificate, other), (certificate, locked), (key, key), (tmp_path / "none", key)):
        with pytest.raises(ConfigurationError, match=r"TANDEM_TLS_CERT=.*TANDEM_TLS_KEY=.*cannot be used"):
            Certificate(*wrong)
    with pytest.raises(ValidationError, match="set together"):
        Settings(tls_cert=certificate)
    with pytest.raises(ValidationError, match="TANDEM_WORKER_PROCESSES at 0"):
        Settings(tls_cert=certificate, tls_key=key, worker_processes=1)
