"""What the command line makes of a node that is full, away, or breaks off."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import app.client
from app.client import Client, NodeUnreachable, Refused

Answer = httpx.Response | httpx.TransportError


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, on a clock that only moves so."""
    waited: list[float] = []
    monkeypatch.setattr(app.client, "sleep", waited.append)
    monkeypatch.setattr(app.client, "monotonic", lambda: sum(waited))
    return waited


@pytest.fixture
def client_of() -> Iterator[Callable[..., tuple[Client, list[httpx.Request]]]]:
    clients = []

    def make(*answers: Answer) -> tuple[Client, list[httpx.Request]]:
        """A client whose node gives these answers, the last one for ever, and the requests it was sent."""
        requests: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            request.read()
            requests.append(request)
            found = answers[min(len(requests), len(answers)) - 1]
            if isinstance(found, httpx.TransportError):
                raise found
            return found

        client = Client("http://node")
        client._http = httpx.Client(base_url="http://node", transport=httpx.MockTransport(answer))
        clients.append(client)
        return client, requests

    yield make
    for client in clients:
        client._http.close()


def events(*states: str) -> httpx.Response:
    text = "".join(f"event: job\r\ndata: {json.dumps({'state': state})}\r\n\r\n: ping\r\n\r\n" for state in states)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)


def refusal(status: int, code: str, retry_after: str | None = None) -> httpx.Response:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return httpx.Response(status, headers=headers, json={"error": {"code": code, "message": "No.", "detail": {}}})


ACCEPTED = httpx.Response(202, json={"job_id": "j", "documents": []})


def states(client: Client) -> list[str]:
    return [job["state"] for job in client.watch("j")]


def test_a_broken_stream_is_opened_anew(client_of: Callable[..., tuple[Client, list]], pauses: list[float]) -> None:
    client, requests = client_of(
        events("queued"),
        httpx.ReadError("reset"),
        refusal(503, "not_ready", "5"),
        events("running", "succeeded", "never told"),
    )
    assert states(client) == ["queued", "running", "succeeded"]
    assert len(requests) == 4
    assert pauses == [1, 1, 5]


@pytest.mark.parametrize("state", ["succeeded", "partial", "failed", "cancelled"])
def test_the_watch_ends_with_the_job(
    client_of: Callable[..., tuple[Client, list]], pauses: list[float], state: str
) -> None:
    client, requests = client_of(events(state))
    assert states(client) == [state]
    assert (len(requests), pauses) == (1, [])


def test_an_unknown_job_is_not_waited_for(client_of: Callable[..., tuple[Client, list]], pauses: list[float]) -> None:
    client, _ = client_of(refusal(404, "job_not_found"))
    with pytest.raises(Refused) as refused:
        states(client)
    assert (refused.value.detail["code"], pauses) == ("job_not_found", [])


def test_a_node_that_stays_away_is_given_up(client_of: Callable[..., tuple[Client, list]], pauses: list[float]) -> None:
    client, _ = client_of(httpx.ConnectError("refused"))
    with pytest.raises(NodeUnreachable):
        states(client)
    assert app.client.AWAY_SECONDS - 2 < sum(pauses) <= app.client.AWAY_SECONDS


def test_every_event_brings_new_patience(client_of: Callable[..., tuple[Client, list]], pauses: list[float]) -> None:
    breaks = [answer for _ in range(5) for answer in (events("running"), refusal(503, "not_ready", "200"))]
    client, _ = client_of(*breaks, events("succeeded"))
    assert states(client)[-1] == "succeeded"
    assert sum(pauses) > app.client.AWAY_SECONDS


def test_a_full_queue_is_waited_for_and_the_request_keeps_its_key(
    client_of: Callable[..., tuple[Client, list]], pauses: list[float], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("words")
    client, requests = client_of(
        refusal(429, "overloaded", "10"), refusal(429, "overloaded", "7"), httpx.ReadError("reset"), ACCEPTED
    )
    assert client.ingest_files("docs", [("a", tmp_path / "a.txt")])["job_id"] == "j"
    assert pauses == [10, 7, 1]
    assert len({request.headers["idempotency-key"] for request in requests}) == 1
    assert all(b"words" in request.content for request in requests)
    client.ingest_files("docs", [("a", tmp_path / "a.txt")])
    assert requests[-1].headers["idempotency-key"] != requests[0].headers["idempotency-key"]


def test_a_queue_that_stays_full_is_given_up(
    client_of: Callable[..., tuple[Client, list]], pauses: list[float], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("words")
    client, _ = client_of(refusal(429, "overloaded", "10"))
    with pytest.raises(Refused, match="overloaded"):
        client.ingest_files("docs", [("a", tmp_path / "a.txt")])
    assert sum(pauses) == app.client.FULL_SECONDS


@pytest.mark.parametrize(
    "answer", [httpx.ConnectError("refused"), refusal(422, "empty_text"), refusal(413, "too_large")]
)
def test_what_no_waiting_mends_is_raised_at_once(
    client_of: Callable[..., tuple[Client, list]], pauses: list[float], tmp_path: Path, answer: Answer
) -> None:
    (tmp_path / "a.txt").write_text("words")
    client, requests = client_of(answer)
    with pytest.raises((NodeUnreachable, Refused)):
        client.ingest_files("docs", [("a", tmp_path / "a.txt")])
    assert (len(requests), pauses) == (1, [])


def test_a_pause_that_is_no_number_is_a_short_one(
    client_of: Callable[..., tuple[Client, list]], pauses: list[float]
) -> None:
    client, _ = client_of(refusal(503, "not_ready", "Sat, 21 Nov 2026 11:00:00 GMT"), events("succeeded"))
    assert states(client) == ["succeeded"]
    assert pauses == [1]
