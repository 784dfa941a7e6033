"""What each dialect sends and believes, held against the published schemas (tests/support/models/dialects)."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import orjson
import pytest
from tokenizers import Tokenizer

from retrieval.engines.http.dialects.dialect import Answer, Dialect, Pair, Text
from retrieval.engines.http.dialects.infinity import INFINITY_EMBED, INFINITY_RERANK
from retrieval.engines.http.dialects.names import WITHOUT_PRIORITY, DialectName
from retrieval.engines.http.dialects.sglang import SGLANG_EMBED, sglang_rerank
from retrieval.engines.http.dialects.table import PAIR_RERANK, TEXT_EMBED, TOKEN_EMBED, TOKEN_RERANK
from retrieval.engines.http.dialects.tei import TEI_EMBED, TEI_RERANK
from retrieval.engines.http.dialects.vllm import VLLM_EMBED, VLLM_EMBED_BASE64
from retrieval.engines.http.server import HttpEngine
from retrieval.engines.http.texts import HttpPairReranker, HttpTextEmbedder
from retrieval.engines.http.tokens import HttpEmbedder, HttpReranker
from retrieval.errors import ConfigurationError, EngineFailed, InvalidText
from retrieval.models.folder import read_tokenizer, stated_window
from retrieval.text.prompts import DEFAULT_QUERY_INSTRUCTION, RerankPromptBuilder
from retrieval.types import Lane, TokenIds
from tests.support.models.dialect_servers import WINDOW, DialectServer, model_folder, options, score, vector

LONG = "北京🐈 word " * 300
TEXTS = ["The capital of France is Paris.", "", " \n", LONG, "  spaces around  "]


def unit(values: Sequence[float]) -> np.ndarray:
    found: np.ndarray = np.array(values, dtype=np.float32)
    return found / np.linalg.norm(found)


async def texts_through(
    kind: str, dialect: Dialect[Text], folder: Path, **changes: object
) -> tuple[DialectServer, HttpTextEmbedder]:
    server = DialectServer(kind, read_tokenizer(folder))
    embedder = HttpTextEmbedder(folder, options(**changes), dialect, transport=httpx.MockTransport(server))
    await embedder.start()
    return server, embedder


async def pairs_through(kind: str, dialect: Dialect[Pair], folder: Path) -> tuple[DialectServer, HttpPairReranker]:
    server = DialectServer(kind, read_tokenizer(folder))
    reranker = HttpPairReranker(folder, options(), dialect, transport=httpx.MockTransport(server))
    await reranker.start()
    return server, reranker


@pytest.mark.parametrize(("kind", "dialect"), [("tei", TEI_EMBED), ("infinity", INFINITY_EMBED)])
async def test_texts_are_cut_here_and_never_there(
    kind: str, dialect: Dialect[Text], small_qwen3_embedding_folder: Path
) -> None:
    server, embedder = await texts_through(kind, dialect, small_qwen3_embedding_folder)
    result = await embedder.embed(TEXTS, kind="document", lane=Lane.BULK)
    total = len(embedder.tokenizer.encode(LONG, add_special_tokens=False).ids)
    assert server.cut_tokens == 0
    assert max(result.tokens) <= WINDOW - 1
    # A character of several tokens is dropped whole.
    assert WINDOW - 6 < result.tokens[3] == total - result.truncated_tokens[3] + 1
    assert result.truncated_tokens[:3] == (0, 0, 0)
    await embedder.close()


async def test_a_server_that_cuts_would_be_noticed(cross_encoder_folder: Path) -> None:
    """What the test before relies on."""
    tokenizer = read_tokenizer(cross_encoder_folder)
    server = DialectServer("infinity", tokenizer, window=WINDOW - 20)
    embedder = HttpTextEmbedder(cross_encoder_folder, options(), INFINITY_EMBED, transport=httpx.MockTransport(server))
    await embedder.start()
    await embedder.embed([LONG], kind="document", lane=Lane.BULK)
    assert server.cut_tokens > 0
    refusing = DialectServer("tei", tokenizer, window=WINDOW - 20)
    embedder = HttpTextEmbedder(cross_encoder_folder, options(), TEI_EMBED, transport=httpx.MockTransport(refusing))
    await embedder.start()
    with pytest.raises(EngineFailed, match=r"413.*must have less than 236 tokens"):
        await embedder.embed([LONG], kind="document", lane=Lane.BULK)


async def test_queries_carry_their_instruction_in_the_text(small_qwen3_embedding_folder: Path) -> None:
    server, embedder = await texts_through("tei", TEI_EMBED, small_qwen3_embedding_folder)
    result = await embedder.embed(["hot?"], kind="query", lane=Lane.INTERACTIVE)
    await embedder.embed(["hot?"], kind="query", lane=Lane.INTERACTIVE, instruction="Find kilns")
    asked = f"Instruct: {DEFAULT_QUERY_INSTRUCTION}\nQuery:hot?"
    assert server.bodies == [
        {"inputs": [asked], "truncate": False, "normalize": True},
        {"inputs": ["Instruct: Find kilns\nQuery:hot?"], "truncate": False, "normalize": True},
    ]
    np.testing.assert_allclose(result.vectors[0], unit(vector(embedder.tokenizer.encode(asked).ids)), rtol=1e-5)
    await embedder.close()


async def test_a_model_without_a_format_reads_the_instruction_as_it_is(cross_encoder_folder: Path) -> None:
    server, embedder = await texts_through("infinity", INFINITY_EMBED, cross_encoder_folder)
    await embedder.embed(["hot?"], kind="query", lane=Lane.INTERACTIVE, instruction="Find kilns: ")
    await embedder.embed(["Hot."], kind="document", lane=Lane.BULK)
    assert [body["input"] for body in server.bodies] == [["Find kilns: hot?"], ["Hot."]]
    await embedder.close()


async def test_lone_surrogates_never_leave(cross_encoder_folder: Path) -> None:
    server, embedder = await texts_through("tei", TEI_EMBED, cross_encoder_folder)
    with pytest.raises(InvalidText):
        await embedder.embed(["fine", "\ud800"], kind="document", lane=Lane.BULK)
    other, reranker = await pairs_through("tei", TEI_RERANK, cross_encoder_folder)
    with pytest.raises(InvalidText):
        await reranker.rerank("\ud800", ["fine"], lane=Lane.INTERACTIVE)
    assert server.bodies == other.bodies == []


@pytest.mark.parametrize(("kind", "dialect"), [("tei", TEI_RERANK), ("infinity", INFINITY_RERANK)])
async def test_pairs_are_cut_here_and_never_there(
    kind: str, dialect: Dialect[Pair], cross_encoder_folder: Path
) -> None:
    server, reranker = await pairs_through(kind, dialect, cross_encoder_folder)
    passages = ["short", "", LONG, *("more" for _ in range(40))]
    for query in ("what?", LONG):
        result = await reranker.rerank(query, passages, lane=Lane.INTERACTIVE)
        assert server.cut_tokens == 0
        assert result.truncated_tokens[:2] == (0, 0)
        assert result.truncated_tokens[2] > 100
    assert result.truncated_query_tokens > 100
    plain = await reranker.rerank("what?", ["short"], lane=Lane.INTERACTIVE)
    ids = read_tokenizer(cross_encoder_folder).encode("what?", "short").ids
    assert plain.scores == pytest.approx((score(ids),))
    assert plain.tokens == len(ids)
    await reranker.close()


async def test_sglang_scores_the_prompt_of_the_model_card(
    small_qwen3_reranker_folder: Path, small_qwen3_tokenizer: Tokenizer
) -> None:
    tokenizer = small_qwen3_tokenizer
    server = DialectServer("sglang", tokenizer)
    transport = httpx.MockTransport(server)
    reranker = HttpReranker(small_qwen3_reranker_folder, options(), sglang_rerank(tokenizer), transport=transport)
    await reranker.start()
    result = await reranker.rerank("hot?", ["It is."], lane=Lane.INTERACTIVE)
    [prompt] = RerankPromptBuilder(tokenizer, max_model_len=WINDOW).build("hot?", ["It is."]).prompts
    assert server.bodies == [
        {
            "model": "served",
            "query": [],
            "items": [prompt.ids],
            "label_token_ids": [tokenizer.token_to_id("no"), tokenizer.token_to_id("yes")],
            "apply_softmax": True,
        }
    ]
    assert result.scores == pytest.approx((score(prompt.ids),))
    await reranker.close()


async def test_priority_goes_to_those_who_know_it(cross_encoder_folder: Path) -> None:
    server = DialectServer("sglang", read_tokenizer(cross_encoder_folder))
    transport = httpx.MockTransport(server)
    embedder = HttpEmbedder(cross_encoder_folder, options(send_priority=True), SGLANG_EMBED, transport=transport)
    await embedder.start()
    await embedder.embed(["a"], kind="document", lane=Lane.BULK)
    await embedder.embed(["a"], kind="query", lane=Lane.INTERACTIVE)
    assert [body["priority"] for body in server.bodies] == [1, 0]
    tei, texts = await texts_through("tei", TEI_EMBED, cross_encoder_folder, send_priority=True)
    await texts.embed(["a"], kind="document", lane=Lane.BULK)
    assert "priority" not in tei.bodies[0]


@pytest.mark.parametrize("kind", ["sglang", "infinity"])
async def test_shorter_vectors_are_asked_for(kind: str, cross_encoder_folder: Path) -> None:
    server = DialectServer(kind, read_tokenizer(cross_encoder_folder))
    transport = httpx.MockTransport(server)
    embedder: HttpEmbedder | HttpTextEmbedder
    if kind == "sglang":
        embedder = HttpEmbedder(cross_encoder_folder, options(), SGLANG_EMBED, dimension=32, transport=transport)
    else:
        embedder = HttpTextEmbedder(cross_encoder_folder, options(), INFINITY_EMBED, dimension=32, transport=transport)
    await embedder.start()
    result = await embedder.embed(["a"], kind="document", lane=Lane.BULK)
    assert server.bodies[0]["dimensions"] == 32
    expected = unit(vector(embedder.tokenizer.encode("a").ids)[:32])
    np.testing.assert_allclose(result.vectors[0], expected, rtol=1e-5)


def test_tei_is_not_asked_for_shorter_vectors(cross_encoder_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="TANDEM_EMBED_DIMENSION=32: tei"):
        HttpTextEmbedder(cross_encoder_folder, options(), TEI_EMBED, dimension=32)


async def test_another_model_than_configured_is_noticed(tmp_path: Path, minilm_folder: Path) -> None:
    folder = model_folder(tmp_path, read_tokenizer(minilm_folder), model_type="bert", hidden_size=96)
    _, embedder = await texts_through("tei", TEI_EMBED, folder)
    with pytest.raises(EngineFailed, match="of 64 components, not of 96"):
        await embedder.embed(["a"], kind="document", lane=Lane.BULK)


@pytest.mark.parametrize("dialect", [TEI_RERANK, INFINITY_RERANK])
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
            "at random without its prompt.*vllm or sglang",
        ),
        (
            {
                "model_type": "qwen3",
                "architectures": ["Qwen3ForSequenceClassification"],
                "id2label": {"0": "LABEL_0"},
            },
            "at random without its prompt",
        ),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "no cross-encoder"),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "one output"),
        (
            {
                "model_type": "bert",
                "architectures": ["BertForSequenceClassification"],
                "id2label": {"0": "A", "1": "B"},
            },
            "one output",
        ),
    ],
)
def test_what_would_rank_at_random_is_refused(
    dialect: Dialect[Pair], config: dict[str, object], words: str, tmp_path: Path, minilm_folder: Path
) -> None:
    folder = model_folder(tmp_path, read_tokenizer(minilm_folder), **config)
    with pytest.raises(ConfigurationError, match=words) as caught:
        HttpPairReranker(folder, options(), dialect)
    assert dialect.name in caught.value.message


def test_a_window_without_room_is_refused(cross_encoder_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="max_model_len is 34"):
        HttpPairReranker(cross_encoder_folder, options(max_model_len=34), TEI_RERANK)


@pytest.mark.parametrize(
    ("files", "window"),
    [
        ({}, 300),
        ({"config.json": {"max_position_embeddings": 200}}, 200),
        (
            {"sentence_bert_config.json": {"max_seq_length": 128}, "tokenizer_config.json": {"model_max_length": 150}},
            128,
        ),
        (
            {
                "sentence_bert_config.json": {"max_seq_length": None},
                "tokenizer_config.json": {"model_max_length": 1e30},
            },
            300,
        ),
        ({"tokenizer_config.json": {"model_max_length": 250}}, 250),
    ],
)
def test_text_is_cut_where_the_model_s_files_say(
    tmp_path: Path, files: dict[str, dict[str, object]], window: int
) -> None:
    for name, content in ({"config.json": {}} | files).items():
        (tmp_path / name).write_bytes(orjson.dumps(content))
    assert stated_window(tmp_path, 300) == window


def test_sglang_wants_a_reranker_s_tokenizer(minilm_folder: Path) -> None:
    tokenizer = read_tokenizer(minilm_folder)
    assert tokenizer.token_to_id("yes") is not None  # BERT's has both; the model's family is checked elsewhere
    with pytest.raises(ConfigurationError, match="yes"):
        sglang_rerank(Tokenizer.from_str(tokenizer.to_str().replace('"yes"', '"yess"')))


def _answer(body: object, count: int = 2) -> Answer:
    return Answer(orjson.dumps(body), "application/json", count)


@pytest.mark.parametrize(
    ("dialect", "body", "words"),
    [
        (TEI_EMBED, {"error": "x"}, "JSON"),
        (TEI_EMBED, [[1.0, 0.0]], "1 results, not one for each of 2"),
        (TEI_EMBED, [[1.0, 0.0], [1.0]], "dimensions"),
        (TEI_EMBED, [[1.0, 0.0], [None, 1.0]], "not finite"),
        (TEI_EMBED, [[1.0, 0.0], [0.0, 0.0]], "direction"),
        (TEI_RERANK, [{"index": 0, "score": 0.5}], "1 results"),
        (TEI_RERANK, [{"index": 0, "score": 0.5}, {"index": 0, "score": 0.5}], "one for each of 2"),
        (TEI_RERANK, [{"index": 0, "score": 0.5}, {"index": 1, "score": -3.2}], "-3.2"),
        (TEI_RERANK, [{"index": 0, "score": 0.5}, {"index": 1}], "nan"),
        (INFINITY_EMBED, {"data": [{"index": 0, "embedding": "AAAA"}] * 2}, "one for each"),
        (
            INFINITY_RERANK,
            {"results": [{"index": 1, "relevance_score": 2}, {"index": 0, "relevance_score": 0}]},
            "2 where",
        ),
        (INFINITY_RERANK, [], "JSON"),
        (SGLANG_EMBED, {"data": [{"index": 0}, {"index": 1}]}, "shape|numbers|finite"),
        (sglang_rerank, {"scores": [[0.5, 0.5], [0.5]]}, "two tokens"),
        (sglang_rerank, {"scores": [0.5, 0.5]}, "two tokens"),
        (sglang_rerank, {"scores": [[0.5, 0.5]]}, "1 results"),
        (sglang_rerank, {"scores": [[0.5, 0.5], [0.1, 1.4]]}, "1.4"),
        (sglang_rerank, {"error": "x"}, "JSON"),
    ],
)
def test_a_malformed_answer_is_refused(
    dialect: object, body: object, words: str, small_qwen3_tokenizer: Tokenizer
) -> None:
    spoken = dialect if isinstance(dialect, Dialect) else sglang_rerank(small_qwen3_tokenizer)
    with pytest.raises(EngineFailed, match=words):
        spoken.outputs(_answer(body))


class OlderVllm:
    """Refuses what it does not know, as pydantic does."""

    def __init__(self, known: Sequence[str], status: int) -> None:
        self.known = known
        self.status = status
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/health":
            return httpx.Response(200)
        body = orjson.loads(request.content)
        self.asked.append(body["encoding_format"])
        if body["encoding_format"] not in self.known:
            return httpx.Response(self.status, json={"error": {"message": f"not {body['encoding_format']}"}})
        data = [{"index": place, "embedding": [1.0, 0.0]} for place in range(len(body["input"]))]
        return httpx.Response(200, json={"data": data})


async def _token_engine(server: OlderVllm) -> HttpEngine[TokenIds]:
    engine = HttpEngine(options(), VLLM_EMBED, transport=httpx.MockTransport(server))
    await engine.start()
    return engine


@pytest.mark.parametrize("status", [400, 422])
async def test_an_older_vllm_is_asked_for_bytes_once(status: int) -> None:
    server = OlderVllm(["base64"], status)
    engine = await _token_engine(server)
    for _ in range(3):
        assert len(await engine.encode([[1], [2]], lane=Lane.BULK)) == 2
    assert server.asked == ["bytes_only", "base64", "base64", "base64"]
    assert engine.dialect is VLLM_EMBED_BASE64


async def test_a_request_that_no_form_gets_through_changes_nothing() -> None:
    server = OlderVllm([], 400)
    engine = await _token_engine(server)
    with pytest.raises(EngineFailed, match="400: not base64"):
        await engine.encode([[1]], lane=Lane.BULK)
    server.known = ["bytes_only"]
    await engine.encode([[1]], lane=Lane.BULK)
    assert server.asked == ["bytes_only", "base64", "bytes_only"]


def test_bytes_are_vectors_one_after_the_other() -> None:
    content = np.array([[3, 4], [0, 2]], dtype="<f4").tobytes()
    found = VLLM_EMBED.outputs(Answer(content, "application/octet-stream", 2))
    np.testing.assert_allclose(np.stack(found), [[0.6, 0.8], [0, 1]])
    assert found[0].dtype == np.float32


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes"),
        (b"12345", "5 bytes, which are not 2"),
        (np.zeros(4, "<f4").tobytes(), "direction"),
        (np.full(4, np.nan, "<f4").tobytes(), "finite"),
    ],
)
def test_bytes_that_cannot_be_vectors_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(EngineFailed, match=words):
        VLLM_EMBED.outputs(Answer(content, "application/octet-stream", 2))


def test_every_name_has_a_dialect_for_both_tasks(small_qwen3_tokenizer: Tokenizer) -> None:
    names = set(get_args(DialectName))
    assert set(TOKEN_EMBED) | set(TEXT_EMBED) == set(TOKEN_RERANK) | set(PAIR_RERANK) == names
    embedding = {**TOKEN_EMBED, **TEXT_EMBED}
    assert {name for name, dialect in embedding.items() if not dialect.priority} == WITHOUT_PRIORITY
    for name in TOKEN_EMBED:
        assert TOKEN_EMBED[name].name == name
    for name in TEXT_EMBED:
        assert TEXT_EMBED[name].name == PAIR_RERANK[name].name == name
    assert TOKEN_RERANK["vllm-ascend"](small_qwen3_tokenizer).path == "/classify"


def test_dialects_share_the_fingerprint_of_a_model(cross_encoder_folder: Path) -> None:
    engines = [
        *(HttpEmbedder(cross_encoder_folder, options(), dialect).fingerprint for dialect in TOKEN_EMBED.values()),
        *(HttpTextEmbedder(cross_encoder_folder, options(), dialect).fingerprint for dialect in TEXT_EMBED.values()),
    ]
    assert len(engines) == 5
    assert len({each.digest for each in engines}) == 1
