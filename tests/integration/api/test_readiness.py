"""What keeps a node from being ready, and that it then answers nothing."""

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import Settings
from retrieval.errors import ModelUnavailable, TandemError
from retrieval.types import Lane, RerankScores
from tests.support.models.fake_models import FakeEmbedder, FakeReranker
from tests.support.nodes.node import real_but_for
from tests.support.waiting import until


class Indifferent(FakeReranker):
    """Scores everything alike, as a reranker does whose prompt is wrong."""

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        cut = (0,) * len(passages)
        return RerankScores((0.5,) * len(passages), 1, cut, truncated_query_tokens=0, model=self.model)


class Missing(FakeEmbedder):
    async def start(self) -> None:
        raise ModelUnavailable("The model is nowhere.")


async def test_a_failed_self_test_keeps_the_node_not_ready_with_the_reason(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), real_but_for(FakeEmbedder(), Indifferent(), tmp_path))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http,
    ):
        starting = await http.post("/search", json={"query": "x"})
        assert (starting.status_code, starting.json()["error"]["code"]) == (503, "not_ready")
        await until(lambda: app.state.runner.phase == "serving")
        ready = await http.get("/health/ready")
        assert ready.status_code == 503
        assert "rerank.distinct" in ready.json()["checks"]["self_test"]["detail"]
        assert [check for check in ready.json()["self_test"] if not check["ok"]]
        for method, path, body in (("POST", "/search", {"query": "x"}), ("GET", "/collections", None)):
            answer = await http.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
            assert "rerank.distinct" in answer.json()["error"]["message"]
        assert (await http.get("/health/live")).status_code == 200


async def test_a_model_that_is_not_there_ends_the_start_and_says_so(tmp_path: Path) -> None:
    failures: list[TandemError] = []
    app = create_app(Settings(data_dir=tmp_path), real_but_for(Missing(), FakeReranker(), tmp_path), failures.append)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http,
    ):
        await until(lambda: bool(failures))
        ready = await http.get("/health/ready")
        assert ready.status_code == 503
        assert "The model is nowhere." in ready.json()["checks"]["node"]["detail"]
    assert failures[0].code == "model_unavailable"


@pytest.mark.parametrize("path", ["/health/ready", "/health/live", "/metrics", "/docs", "/openapi.json"])
async def test_these_answer_before_the_node_is_up(tmp_path: Path, path: str) -> None:
    app = create_app(Settings(data_dir=tmp_path), real_but_for(FakeEmbedder(), FakeReranker(), tmp_path))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http,
    ):
        answer = await http.get(path)
        assert answer.status_code == (503 if path == "/health/ready" else 200)
