"""What both clients make of a node that is full, away, or breaks off."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from langchain_tandem.client import (
    LONG_RETRIES,
    NO_RETRIES,
    SHORT_RETRIES,
    NodeUnreachable,
    NotFound,
    NotTandem,
    Overloaded,
    Refused,
    Retries,
    Unauthorized,
    Unavailable,
)
from langchain_tandem.client.retrying import RetryState
from tests.support.nodes.scripted_node import Answer, EitherClient, refusal

FOUND = httpx.Response(200, json={"hits": []})
ACCEPTED = httpx.Response(202, json={"job_id": "j", "documents": []})
RESET = httpx.ReadError("reset")
AWAY = httpx.ConnectError("refused")


def events(*states: str) -> httpx.Response:
    text = "".join(f"event: job\r\ndata: {json.dumps({'state': state})}\r\n\r\n: ping\r\n\r\n" for state in states)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)


async def states(client: EitherClient) -> list[str]:
    return [job["state"] for job in await client("watch", "j")]


@pytest.mark.parametrize(("status", "code"), [(429, "overloaded"), (503, "engine_dead")])
async def test_a_node_is_asked_again_when_it_wants_to_be(client: EitherClient, status: int, code: str) -> None:
    client.of(refusal(status, code, "7"), refusal(status, code, "2"), FOUND)
    assert await client("search", "words") == {"hits": []}
    assert client.pauses == [7, 2]
    assert {request.content for request in client.node.requests} == {b'{"query": "words"}'}


async def test_without_a_word_from_the_node_pauses_double(client: EitherClient) -> None:
    client.of(FOUND, *[RESET] * 8, FOUND, retries=Retries(unavailable_seconds=999, longest_pause=10))
    await client("search", "x")
    await client("search", "x")
    assert client.pauses == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


async def test_a_date_is_waited_for(client: EitherClient) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    client.of(refusal(503, "not_ready", date), FOUND)
    await client("search", "x")
    assert 15 < client.pauses[0] < 21


async def test_what_is_neither_number_nor_date_is_passed_over(client: EitherClient) -> None:
    client.of(refusal(503, "not_ready", "soon"), FOUND)
    await client("search", "x")
    assert client.pauses == [SHORT_RETRIES.first_pause]


@pytest.mark.parametrize(
    ("answer", "kind", "limit"),
    [
        (refusal(429, "overloaded", "4"), Overloaded, SHORT_RETRIES.overloaded_seconds),
        (refusal(503, "not_ready", "4"), Unavailable, SHORT_RETRIES.unavailable_seconds),
        (httpx.Response(502, text="<html>Bad Gateway"), Unavailable, SHORT_RETRIES.unavailable_seconds),
    ],
)
async def test_a_node_that_stays_so_is_given_up(
    client: EitherClient, answer: Answer, kind: type[Exception], limit: float
) -> None:
    client.of(answer)
    with pytest.raises(kind):
        await client("search", "x")
    assert limit - SHORT_RETRIES.longest_pause <= sum(client.pauses) <= limit


async def test_a_node_that_never_answered_is_given_up_sooner(client: EitherClient) -> None:
    client.of(AWAY)
    with pytest.raises(NodeUnreachable, match=r"No answer from http://node: ConnectError\."):
        await client("search", "x")
    assert 0 < sum(client.pauses) <= SHORT_RETRIES.unreachable_seconds


async def test_a_node_that_wants_too_much_patience_is_not_waited_for(client: EitherClient) -> None:
    client.of(refusal(429, "overloaded", "86400"))
    with pytest.raises(Overloaded) as refused:
        await client("search", "x")
    assert (refused.value.retry_after, client.pauses) == (86400, [])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(401, "unauthorized"), Unauthorized),
        (refusal(404, "collection_not_found"), NotFound),
        (refusal(422, "empty_text"), Refused),
        (refusal(502, "engine_failed"), Refused),
        (httpx.Response(401, json={"message": "No.", "code": "unauthorized"}), Unauthorized),
        (httpx.Response(404, json={"message": "no such route"}), NotTandem),
        (httpx.Response(404, json=404), NotTandem),
        (httpx.Response(404, text="<html>"), NotTandem),
        (httpx.Response(200, text="<html>"), NotTandem),
        (httpx.Response(200, json=["no object"]), NotTandem),
        (httpx.Response(500, json={"error": "no object"}), NotTandem),
        (httpx.DecodingError("no gzip"), NotTandem),
    ],
)
async def test_what_no_waiting_mends_is_raised_at_once(
    client: EitherClient, answer: Answer, kind: type[Exception]
) -> None:
    client.of(answer)
    with pytest.raises(kind) as raised:
        await client("search", "x")
    assert type(raised.value) is kind
    assert (len(client.node.requests), client.pauses) == (1, [])


async def test_a_refusal_carries_what_the_node_said(client: EitherClient) -> None:
    client.of(refusal(413, "too_large", "9", limit=5))
    with pytest.raises(Refused, match=r"^No\. \(too_large\)$") as refused:
        await client("search", "x")
    found = refused.value
    assert (found.code, found.status, found.detail, found.retry_after) == ("too_large", 413, {"limit": 5}, 9)


async def test_what_may_have_been_done_is_not_sent_again(client: EitherClient) -> None:
    for method, arguments in (
        ("create_collection", ["c"]),
        ("delete_collection", ["c"]),
        ("delete_document", ["d"]),
        ("audit", []),
        ("reembed", ["c"]),
        ("rollback", ["c"]),
    ):
        client.of(RESET)
        with pytest.raises(NodeUnreachable):
            await client(method, *arguments)
        assert len(client.node.requests) == 1


async def test_what_has_certainly_not_been_done_is(client: EitherClient) -> None:
    client.of(AWAY, refusal(503, "store_unavailable", "1"), httpx.Response(201, json={"name": "c"}))
    assert await client("create_collection", "c") == {"name": "c"}
    assert len(client.node.requests) == 3


async def test_whoever_wants_no_repetition_gets_none(client: EitherClient) -> None:
    client.of(refusal(503, "not_ready", "1"), FOUND, retries=NO_RETRIES)
    with pytest.raises(Unavailable):
        await client("search", "x")
    assert client.pauses == []


async def test_documents_keep_their_key_however_often_they_are_sent(client: EitherClient, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    script = (refusal(429, "overloaded", "10"), refusal(429, "overloaded", "7"), RESET, ACCEPTED)
    for method, arguments in (
        ("ingest_files", ["docs", [("a", tmp_path / "a.txt")]]),
        ("ingest", [[{"text": "words"}]]),
    ):
        client.of(*script)
        client.pauses.clear()
        assert (await client(method, *arguments))["job_id"] == "j"
        assert client.pauses == [10, 7, 1]
        requests = client.node.requests
        assert len({request.headers["idempotency-key"] for request in requests}) == 1
        assert all(b"words" in request.content for request in requests)
        await client(method, *arguments)
        assert requests[-1].headers["idempotency-key"] != requests[0].headers["idempotency-key"]
        await client(method, *arguments, idempotency_key="mine")
        assert requests[-1].headers["idempotency-key"] == "mine"


async def test_a_queue_that_stays_full_is_given_up_late(client: EitherClient) -> None:
    client.of(refusal(429, "overloaded", "10"))
    with pytest.raises(Overloaded):
        await client("ingest", [{"text": "words"}])
    assert sum(client.pauses) == LONG_RETRIES.overloaded_seconds


async def test_a_broken_stream_is_opened_anew(client: EitherClient) -> None:
    client.of(events("queued"), RESET, refusal(503, "not_ready", "5"), events("running", "succeeded", "never told"))
    assert await states(client) == ["queued", "running", "succeeded"]
    assert len(client.node.requests) == 4
    assert client.pauses == [0.25, 0.5, 5]


@pytest.mark.parametrize("state", ["succeeded", "partial", "failed", "cancelled"])
async def test_the_watch_ends_with_the_job(client: EitherClient, state: str) -> None:
    client.of(events(state))
    assert await states(client) == [state]
    assert (len(client.node.requests), client.pauses) == (1, [])


async def test_an_unknown_job_is_not_waited_for(client: EitherClient) -> None:
    client.of(refusal(404, "job_not_found"))
    with pytest.raises(NotFound):
        await states(client)
    assert client.pauses == []


@pytest.mark.parametrize("answer", [AWAY, events(), refusal(503, "not_ready", "3")])
async def test_a_watched_node_that_stays_away_is_given_up(client: EitherClient, answer: Answer) -> None:
    client.of(answer)
    with pytest.raises((NodeUnreachable, Unavailable)):
        await states(client)
    assert (
        LONG_RETRIES.unavailable_seconds - LONG_RETRIES.longest_pause
        <= sum(client.pauses)
        <= LONG_RETRIES.unavailable_seconds
    )


async def test_every_event_brings_new_patience(client: EitherClient) -> None:
    breaks = [answer for _ in range(5) for answer in (events("running"), refusal(503, "not_ready", "200"))]
    client.of(*breaks, events("succeeded"))
    assert (await states(client))[-1] == "succeeded"
    assert sum(client.pauses) > LONG_RETRIES.unavailable_seconds


@pytest.mark.parametrize("text", ["data: no json\n\n", 'data: {"progress": 1}\n\n', "x" * (2 << 20)])
async def test_a_stream_of_something_else_is_no_node(client: EitherClient, text: str) -> None:
    client.of(httpx.Response(200, text=text))
    with pytest.raises(NotTandem):
        await states(client)


def test_clients_do_not_come_back_all_at_once() -> None:
    """Never before the node wants them to, and not much later."""
    asked = Overloaded("full", code="overloaded", status=429, retry_after=8)
    pauses = {RetryState(SHORT_RETRIES).pause(asked, answered=True) for _ in range(50)}
    assert len(pauses) > 10
    assert 8 <= min(pauses) < max(pauses) <= 10
