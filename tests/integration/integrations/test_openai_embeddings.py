"""OpenAI's embeddings and models, by OpenAI's own client and by LangChain's."""

import asyncio
from base64 import b64decode
from collections.abc import Sequence

import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings

from retrieval.errors import EngineDead
from retrieval.types import Lane, TextKind, Vectors
from tests.support.nodes.faces import KEY, WORDS, Face

TEXTS = ["how hot is the kiln", "", "an hour"]


@pytest.fixture
def client(face: Face) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{face.url}/v1", api_key=KEY, max_retries=0)


async def vectors_of(
    face: Face, texts: Sequence[str], kind: TextKind = "document", instruction: str | None = None
) -> Vectors:
    return (await face.embedder.embed(texts, kind=kind, lane=Lane.BULK, instruction=instruction)).vectors


def spied(face: Face, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """How the embedder is asked from now on."""
    seen: list[dict[str, object]] = []
    embed = face.embedder.embed

    async def spy(texts: Sequence[str], **arguments: object) -> object:
        seen.append(arguments)
        return await embed(texts, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(face.embedder, "embed", spy)
    return seen


async def test_vectors_are_those_of_the_embedder_in_both_formats(face: Face, client: openai.AsyncOpenAI) -> None:
    expected = await vectors_of(face, TEXTS)
    # The client asks for base64 where it is not told otherwise.
    packed = await client.embeddings.create(model="tandem", input=TEXTS)
    plain = await client.embeddings.create(model="fake-embedder", input=TEXTS, encoding_format="float")
    unset = await client.embeddings.create(model="tandem", input=TEXTS, extra_body={"encoding_format": "not_set"})
    for answer in (packed, plain, unset):
        assert (np.array([each.embedding for each in answer.data], dtype=np.float32) == expected).all()
        assert [each.index for each in answer.data] == [0, 1, 2]
        assert (answer.object, answer.model, answer.data[0].object) == ("list", "fake-embedder", "embedding")
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 7)
    raw = await face.http.post("/v1/embeddings", json={"input": "kiln", "encoding_format": "base64"})
    vector = np.frombuffer(b64decode(raw.json()["data"][0]["embedding"]), dtype="<f4")
    assert (vector == (await vectors_of(face, ["kiln"]))[0]).all()


async def test_the_synchronous_client(face: Face) -> None:
    client = openai.OpenAI(base_url=f"{face.url}/v1", api_key=KEY, max_retries=0)
    answer = await asyncio.to_thread(client.embeddings.create, model="tandem", input="the kiln")
    assert (np.array(answer.data[0].embedding, dtype=np.float32) == await vectors_of(face, ["the kiln"])).all()


@pytest.mark.parametrize(
    ("input_type", "kind"),
    [
        (None, "document"), ("document", "document"), ("search_document", "document"),
        ("query", "query"), ("search_query", "query"),
    ],
)  # fmt: skip
async def test_the_side_is_told_and_otherwise_that_of_documents(
    face: Face,
    client: openai.AsyncOpenAI,
    monkeypatch: pytest.MonkeyPatch,
    input_type: str | None,
    kind: TextKind,
) -> None:
    seen = spied(face, monkeypatch)
    body = {"instruction": "Find kilns"} | ({"input_type": input_type} if input_type else {})
    answer = await client.embeddings.create(model="tandem", input="kiln", extra_body=body)
    assert [(each["kind"], each["instruction"]) for each in seen] == [(kind, "Find kilns")]
    expected = await vectors_of(face, ["kiln"], kind, "Find kilns")
    assert (np.array(answer.data[0].embedding, dtype=np.float32) == expected[0]).all()


@pytest.mark.parametrize(
    ("asked", "lane"),
    [
        ({"input": "kiln"}, Lane.INTERACTIVE),
        ({"input": ["kiln"]}, Lane.INTERACTIVE),
        ({"input": ["kiln", "hour"]}, Lane.BULK),
        ({"input": "kiln", "input_type": "document"}, Lane.BULK),
        ({"input": ["kiln", "hour"], "input_type": "query"}, Lane.INTERACTIVE),
    ],
)
async def test_who_waits_goes_first(
    face: Face, monkeypatch: pytest.MonkeyPatch, asked: dict[str, object], lane: Lane
) -> None:
    seen = spied(face, monkeypatch)
    assert (await face.http.post("/v1/embeddings", json=asked)).status_code == 200
    assert [each["lane"] for each in seen] == [lane]


async def test_token_ids_are_those_of_the_served_model(face: Face, client: openai.AsyncOpenAI) -> None:
    ids = [[1, 2], [2, 3, 5]]
    expected = await vectors_of(face, ["the kiln", "kiln is hot"])
    own = {"own_token_ids": True}
    for unsaid in (ids, ids[0]):
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            await client.embeddings.create(model="tandem", input=unsaid)
    several = await client.embeddings.create(model="tandem", input=ids, extra_body=own)
    assert (np.array([each.embedding for each in several.data], dtype=np.float32) == expected).all()
    one = await client.embeddings.create(model="tandem", input=ids[1], extra_body=own)
    assert (np.array(one.data[0].embedding, dtype=np.float32) == expected[1]).all()
    with pytest.raises(openai.BadRequestError) as refused:
        await client.embeddings.create(model="tandem", input=[[1, 9906]], extra_body=own)
    assert refused.value.param == "input"
    assert "no token 9906 (9 tokens)" in refused.value.message


async def test_dimensions_of_a_model_that_was_trained_for_them(
    face: Face, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await client.embeddings.create(model="tandem", input="kiln", dimensions=64)
    cut = (await vectors_of(face, ["kiln"]))[0, :64]
    assert np.allclose(answer.data[0].embedding, cut / np.linalg.norm(cut), atol=1e-6)
    for wrong in (16, 1000):
        with pytest.raises(openai.BadRequestError, match="has 32 to 384"):
            await client.embeddings.create(model="tandem", input="kiln", dimensions=wrong)
    monkeypatch.setattr(type(face.embedder), "reducible", False)
    with pytest.raises(openai.BadRequestError, match="was not trained for shorter vectors") as refused:
        await client.embeddings.create(model="tandem", input="kiln", dimensions=64)
    assert refused.value.code == "unsupported"


async def test_what_is_cut_is_counted(face: Face) -> None:
    answer = await face.http.post("/v1/embeddings", json={"input": ["kiln " * 600, "kiln"]})
    assert answer.json()["usage"] == {"prompt_tokens": 513, "total_tokens": 513, "truncated_tokens": 88}


async def test_models(client: openai.AsyncOpenAI) -> None:
    listed = await client.models.list()
    assert [(each.id, each.object, each.owned_by) for each in listed.data] == [
        ("fake-embedder", "model", "tandem"),
        ("fake-reranker", "model", "tandem"),
    ]
    assert (await client.models.retrieve("fake-reranker")).id == "fake-reranker"
    assert (await client.models.retrieve("tandem")).id == "fake-embedder"
    with pytest.raises(openai.NotFoundError) as refused:
        await client.models.retrieve("Qwen/Qwen3-Embedding-8B")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


async def test_another_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await client.embeddings.create(model="text-embedding-3-small", input="kiln")
    assert (refused.value.code, refused.value.type, refused.value.param) == (
        "model_not_found",
        "not_found_error",
        "model",
    )
    assert "'fake-embedder' is" in refused.value.message


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"input": []},
        {"input": {}},
        {"input": None},
        {"input": [1, "a"]},
        {"input": ["a", 1]},
        {"input": [[]]},
        {"input": [[1, -1]]},
        {"input": [True]},
        {"input": [2**32]},
        {"input": ["a"] * 2049},
        {"input": "a", "encoding_format": "int8"},
        {"input": "a", "dimensions": 0},
        {"input": "a", "input_type": "passage"},
        {"input": "a", "model": 1},
    ],
)
async def test_wrong_requests_are_refused_in_openai_s_shape(face: Face, wrong: dict[str, object]) -> None:
    answer = await face.http.post("/v1/embeddings", json=wrong)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}


async def test_broken_bodies_and_texts(face: Face) -> None:
    for content, code in (
        (b"{", "invalid_json"),
        (b'{"input": "\\ud800"}', "invalid_text"),
        (b"\xff", "invalid_json"),
    ):
        answer = await face.http.post("/v1/embeddings", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


async def test_keys_load_and_dead_engines_are_told_in_openai_s_shape(
    face: Face, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        await client.with_options(api_key="wrong").embeddings.create(model="tandem", input="kiln")
    assert refused.value.type == "authentication_error"
    monkeypatch.setattr(face.embedder, "fail_with", EngineDead("The engine died."))
    with pytest.raises(openai.InternalServerError) as away:
        await client.embeddings.create(model="tandem", input="kiln")
    assert (away.value.status_code, away.value.code, away.value.type) == (503, "engine_dead", "server_error")
    assert int(away.value.response.headers["retry-after"]) > 0


async def test_langchain_sends_texts_where_it_is_told_to(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = OpenAIEmbeddings(
        model="tandem", base_url=f"{face.url}/v1", api_key=KEY, check_embedding_ctx_length=False
    )
    documents = await embeddings.aembed_documents(TEXTS)
    assert (np.array(documents, dtype=np.float32) == await vectors_of(face, TEXTS)).all()
    asking = OpenAIEmbeddings(
        model="tandem",
        base_url=f"{face.url}/v1",
        api_key=KEY,
        check_embedding_ctx_length=False,
        model_kwargs={"extra_body": {"input_type": "query"}},
    )
    seen = spied(face, monkeypatch)
    await asyncio.to_thread(asking.embed_query, "kiln")
    assert [each["kind"] for each in seen] == ["query"]


async def test_langchain_s_token_ids_are_of_another_vocabulary(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it sends what tiktoken makes of a text; here by hand, for tiktoken fetches its vocabulary."""
    embeddings = OpenAIEmbeddings(model="tandem", base_url=f"{face.url}/v1", api_key=KEY, max_retries=0)
    assert embeddings.check_embedding_ctx_length

    def tokenized(self: object, texts: list[str], chunk_size: int) -> object:
        del self, texts, chunk_size
        # Each of them stands for another word in the served model's vocabulary.
        return range(1), [[4, 2, 1]], [0], [3]

    monkeypatch.setattr(OpenAIEmbeddings, "_tokenize", tokenized)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        await embeddings.aembed_documents(["The kiln is hot"])


async def test_the_vocabulary_of_these_tests(face: Face) -> None:
    assert face.embedder.tokenizer.encode(" ".join(WORDS)).ids == list(range(1, 9))
