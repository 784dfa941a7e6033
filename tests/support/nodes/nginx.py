"""nginx with the configuration of deploy/nginx, but for addresses and the limits that a test names."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.waiting import free_port, until

TEMPLATE = Path(__file__).parents[3] / "deploy" / "nginx" / "tandem.conf.template"
MAIN = """
worker_processes 1;
error_log {folder}/error.log notice;
pid {folder}/nginx.pid;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tandem.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    url: str
    plain_url: str
    trust: ssl.SSLContext
    """Of its certificate."""


def write_configuration(
    folder: Path, nodes: Sequence[int], *, prefix: str = "", ports: tuple[int, int] = (80, 443), **exchanged: str
) -> None:
    """Writes what `nginx -c folder/nginx.conf` wants. `nodes`: their ports; `exchanged`: other replacements, which have
    to be of words that are there."""
    servers = " ".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=5s;" for port in nodes)
    replacements: Mapping[str, str] = {
        "server node-a:8080 max_fails=1 fail_timeout=5s;": servers,
        "server node-b:8080 max_fails=1 fail_timeout=5s;": "",
        "${PREFIX}": prefix,
        "listen 80;": f"listen 127.0.0.1:{ports[0]};",
        "listen 443 ssl": f"listen 127.0.0.1:{ports[1]} ssl",
        "/etc/nginx/tls": str(folder),
        **exchanged,
    }
    text = TEMPLATE.read_text()
    for old, new in replacements.items():
        assert old in text, f"deploy/nginx has no {old!r}"
        text = text.replace(old, new)
    (folder / "tandem.conf").write_text(text)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    _write_certificate(folder)


def check(folder: Path) -> str:
    """What nginx says of the configuration in `folder`; empty where it is accepted without a warning."""
    command = ["nginx", "-t", "-q", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "user root;"]
    return subprocess.run(command, capture_output=True, text=True).stderr


@asynccontextmanager
async def serving(folder: Path, nodes: Sequence[int], *, prefix: str = "", **exchanged: str) -> AsyncIterator[Nginx]:
    plain, port = free_port(), free_port()
    write_configuration(folder, nodes, prefix=prefix, ports=(plain, port), **exchanged)
    process = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "user root; daemon off;"
    )
    try:
        await until(lambda: (folder / "nginx.pid").exists() or process.returncode is not None, seconds=10)
        assert process.returncode is None, (folder / "error.log").read_text()
        trust = ssl.create_default_context(cafile=str(folder / "tls.crt"))
        yield Nginx(f"https://127.0.0.1:{port}{prefix}", f"http://127.0.0.1:{plain}{prefix}", trust)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
