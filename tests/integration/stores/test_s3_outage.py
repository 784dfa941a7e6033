"""S3 that is away, wrong or slow: moto's server, and one that answers what a test tells it to."""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from time import monotonic

import pytest

from ingestion.blobs.s3 import S3BlobStore, S3Options, S3Style
from ingestion.errors import BlobStoreUnavailable
from retrieval.errors import ConfigurationError, TandemError
from tests.support.files.originals import blobs
from tests.support.stores.s3 import SECRET, S3Server

DATA = "原文".encode()
NAME = sha256(DATA).hexdigest()


@dataclass
class Service:
    """What it answers, and what it was asked."""

    url: str = ""
    status: int = 200
    body: str = ""
    hangs: Event | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """(method, path, headers with names in lower case)"""
    answering: list[str] = field(default_factory=list)
    most_at_once: int = 0


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service.asked.append(
                (self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
            )
            service.answering.append(self.path)
            service.most_at_once = max(service.most_at_once, len(service.answering))
            (service.hangs or Event()).wait(30 if service.hangs else 0.01)
            service.answering.remove(self.path)
            body = b"" if self.command == "HEAD" else service.body.encode()
            self.send_response(service.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"etag"')
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer  # noqa: N815

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that gave up are what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield service
    if service.hangs:
        service.hangs.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def at_service(s3_options: S3Options, service: Service) -> S3Options:
    return replace(s3_options, endpoint=service.url, retries=2, timeout=timedelta(seconds=1))


async def test_a_service_that_goes_away_and_comes_back(s3_options: S3Options, s3_server: S3Server) -> None:
    store = S3BlobStore(replace(s3_options, retries=1))
    await store.start()
    await store.put({NAME: DATA})
    with s3_server.away():
        for call in (store.put({NAME: DATA}), store.get([NAME]), store.delete(NAME), anext(store.every())):
            with pytest.raises(BlobStoreUnavailable, match="does not answer") as caught:
                await call
            assert s3_options.bucket in caught.value.message
            assert s3_server.url in caught.value.message
        assert store.failure is not None
        with pytest.raises(BlobStoreUnavailable):
            await S3BlobStore(replace(s3_options, retries=1)).start()
    assert await store.get([NAME]) == {NAME: DATA}


async def test_a_bucket_that_does_not_exist(s3_options: S3Options) -> None:
    with pytest.raises(ConfigurationError, match=r"s3://no-such-bucket/some/where .* no such bucket .*TANDEM_BLOBS"):
        await S3BlobStore(replace(s3_options, bucket="no-such-bucket")).start()


async def test_a_bucket_that_is_removed_loses_no_blob_in_silence(s3_options: S3Options, s3_server: S3Server) -> None:
    store = S3BlobStore(s3_options)
    await store.start()
    s3_server.remove_bucket(s3_options.bucket)
    for call in (store.put({NAME: DATA}), store.get([NAME]), store.delete(NAME), anext(store.every())):
        with pytest.raises(BlobStoreUnavailable, match="no such bucket"):
            await call


async def test_a_key_that_is_not_known(s3_options: S3Options, s3_server: S3Server) -> None:
    running = S3BlobStore(s3_options)
    await running.start()
    with s3_server.checking_keys():
        with pytest.raises(ConfigurationError, match="TANDEM_S3_ACCESS_KEY and TANDEM_S3_SECRET_KEY") as caught:
            await S3BlobStore(s3_options).start()
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(BlobStoreUnavailable, match=r"access is denied .*TANDEM_S3_ACCESS_KEY"):
            await running.put({NAME: DATA})
    await running.put({NAME: DATA})


async def test_a_session_token_in_an_answer_is_told_to_nobody(at_service: S3Options, service: Service) -> None:
    service.status, service.body = 400, "<Error><Code>InvalidToken</Code><Token-0>the-token</Token-0></Error>"
    store = S3BlobStore(at_service)
    for error, call in ((ConfigurationError, store.start()), (BlobStoreUnavailable, store.delete(NAME))):
        with pytest.raises(error) as caught:
            await call
        assert isinstance(caught.value, TandemError)
        assert "InvalidToken" in caught.value.message
        assert "the-token" not in "".join(traceback.format_exception(caught.value))


async def test_tries_again_so_often_and_no_more(at_service: S3Options, service: Service) -> None:
    service.status, service.body = 503, "<Error><Code>SlowDown</Code></Error>"
    with pytest.raises(BlobStoreUnavailable, match="SlowDown"):
        await S3BlobStore(at_service).get([NAME])
    assert len(service.asked) == 1 + at_service.retries
    with pytest.raises(BlobStoreUnavailable):
        await S3BlobStore(at_service).start()


async def test_a_service_that_never_answers(at_service: S3Options, service: Service) -> None:
    service.hangs = Event()
    began = monotonic()
    with pytest.raises(BlobStoreUnavailable, match="does not answer"):
        await S3BlobStore(replace(at_service, retries=0)).put({NAME: DATA})
    assert monotonic() - began < 10


async def test_one_failure_ends_all_of_a_call(at_service: S3Options, service: Service) -> None:
    service.status = 500
    originals = blobs(200)
    with pytest.raises(BlobStoreUnavailable):
        await S3BlobStore(replace(at_service, retries=0, requests_at_once=4)).put(originals)
    assert len(service.asked) < 100


async def test_so_many_requests_at_once_and_no_more(at_service: S3Options, service: Service) -> None:
    service.body = "?"
    originals = blobs(100)
    store = S3BlobStore(replace(at_service, requests_at_once=4))
    await store.put(originals)
    assert await store.get(originals) == {}
    assert len(service.asked) == 300
    assert 2 <= service.most_at_once <= 4


async def test_deletes_one_by_one(at_service: S3Options, service: Service) -> None:
    """Aliyun OSS refuses S3's bulk deletion as obstore would send it."""
    await S3BlobStore(at_service).delete(NAME)
    assert [(method, path) for method, path, _ in service.asked] == [
        ("DELETE", f"/{at_service.bucket}/some/where/{NAME[:2]}/{NAME}")
    ]


@pytest.mark.parametrize(("style", "begin"), [("path", "oss.example/originals"), ("virtual", "originals.oss.example")])
async def test_the_bucket_stands_where_the_style_says(
    at_service: S3Options, service: Service, monkeypatch: pytest.MonkeyPatch, style: S3Style, begin: str
) -> None:
    """The service stands in as a proxy here: it is told the whole URL."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, service.url)
    options = replace(at_service, bucket="originals", endpoint="http://oss.example", style=style)
    await S3BlobStore(options).delete(NAME)
    assert [path for _, path, _ in service.asked] == [f"http://{begin}/some/where/{NAME[:2]}/{NAME}"]


async def test_the_service_can_check_what_it_was_sent(at_service: S3Options, service: Service) -> None:
    await S3BlobStore(at_service).put({NAME: DATA})
    assert [headers["x-amz-content-sha256"] for method, _, headers in service.asked if method == "PUT"] == [NAME]


async def test_own_keys_and_endpoint_come_before_the_environment(
    at_service: S3Options, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    await S3BlobStore(at_service).delete(NAME)
    ((_, _, headers),) = service.asked
    assert "Credential=key/" in headers["authorization"]
    assert "x-amz-security-token" not in headers


async def test_without_keys_the_environment_has_them(
    at_service: S3Options, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    await S3BlobStore(replace(at_service, access_key=None, secret_key=None)).delete(NAME)
    ((_, _, headers),) = service.asked
    assert "Credential=another-key/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "a-token"
