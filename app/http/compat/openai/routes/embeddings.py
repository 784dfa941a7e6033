"""OpenAI's embeddings and models."""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Body, Path, Request, Response
from tokenizers import Tokenizer

from app.access.view import NodeView
from app.errors import ModelNotFound
from app.http.compat.model_names import embedder_named, is_named
from app.http.compat.openai.examples import embeddings as examples
from app.http.compat.openai.schemas.embeddings import EmbeddingsIn, EmbeddingsOut, ModelOut, ModelsListOut
from app.http.disconnect import cancel_on_disconnect
from app.http.embed_requests import admits_any_size, embed, seconds_to_embed
from app.http.routes.dependencies import EmbedAdmission, NodeSettings, ServingNode
from app.http.routes.documented import EMBEDDER, answer, failures, named
from app.http.routes.ids import MODEL
from app.http.schemas.wire import Text
from retrieval.embedders import with_dimension
from retrieval.errors import InvalidRequest
from retrieval.types import Embeddings, Lane

router = APIRouter(prefix="/v1", tags=["openai"])

ModelPath = Annotated[
    Text,
    Path(description="Id of the model, the part after the slash, or `tandem`.", max_length=300, examples=["tandem"]),
]


@router.post(
    "/embeddings",
    summary="Embed inputs",
    response_model=EmbeddingsOut,
    responses={
        200: answer(examples.VECTORS, "A vector for each input."),
        **failures("model_not_found", "unsupported", "overloaded", "budget_exceeded", *EMBEDDER),
    },
)
async def create_embeddings(
    body: Annotated[EmbeddingsIn, Body(openapi_examples=named(examples.REQUESTS))],
    request: Request,
    node: ServingNode,
    settings: NodeSettings,
    admission: EmbedAdmission,
) -> Response:
    """Embeds inputs into vectors of unit length, in the order of the inputs.

    Queries, and single inputs without an `input_type`, take precedence over bulk work; documents and several inputs at
    once are bulk work.
    """
    node.use_models(texts=len(body.inputs))
    embedder = with_dimension(embedder_named(node, body.model), body.dimensions)
    inputs = body.inputs
    if not (isinstance(inputs[0], str) or body.own_token_ids or settings.own_token_ids):
        raise InvalidRequest(
            "input: token ids are not taken, for clients that send them mean those of another tokenizer. Send texts: "
            "in LangChain's OpenAIEmbeddings, check_embedding_ctx_length=False. If they are ids of "
            f"{embedder.fingerprint.model}, say so: own_token_ids in the request, or TANDEM_OWN_TOKEN_IDS on the node.",
            param="input",
        )
    interactive = body.kind == "query" or (body.input_type is None and len(inputs) == 1)
    lane = Lane.INTERACTIVE if interactive else Lane.BULK
    expected = seconds_to_embed(node, embedder, inputs)
    async with admission.admit(len(inputs), expected, any_size_when_idle=admits_any_size(node, lane)):
        texts = await asyncio.to_thread(_as_texts, embedder.tokenizer, inputs)
        work = embed(node, embedder, texts, kind=body.kind, lane=lane, instruction=body.instruction)
        found = await cancel_on_disconnect(request, work)
        content = await asyncio.to_thread(_to_json, found, base64=body.encoding_format == "base64")
    return Response(content, media_type="application/json")


@router.get(
    "/models",
    summary="List models",
    responses={200: answer(examples.MODELS, "Embedding models first.")},
)
async def list_models(node: ServingNode) -> ModelsListOut:
    """The models that this node serves."""
    return ModelsListOut(data=_models(node))


# Ids of hubs contain slashes.
@router.get(
    f"/models/{MODEL}",
    summary="Get a model",
    responses={200: answer(examples.MODEL, "The model."), **failures("model_not_found", "invalid_text")},
)
async def get_model(model: ModelPath, node: ServingNode) -> ModelOut:
    """One model, by its id, by the part after the slash, or as `tandem`."""
    for served in _models(node):
        if is_named(served.id, model):
            return served
    raise ModelNotFound(f"There is no model {model[:200]!r} here; GET /v1/models lists those there are.", param="model")


def _models(node: NodeView) -> list[ModelOut]:
    found = [
        ModelOut(
            id=each.fingerprint.model,
            kind="embedding",
            dimensions=each.fingerprint.dimension,
            max_tokens=each.max_tokens,
        )
        for each in node.embedders.every
    ]
    return [*found, ModelOut(id=node.reranker.model, kind="rerank")]


def _as_texts(tokenizer: Tokenizer, inputs: Sequence[str] | Sequence[Sequence[int]]) -> Sequence[str]:
    """Converts token ids to the texts that they stand for: prompts and truncation work on texts. Raises
    InvalidRequest."""
    texts, arrays = [], []
    for each in inputs:
        if isinstance(each, str):
            texts.append(each)
        else:
            arrays.append(each)
    unknown = next((id_ for id_ in {id_ for ids in arrays for id_ in ids} if tokenizer.id_to_token(id_) is None), None)
    if unknown is not None:
        raise InvalidRequest(
            f"input: the model's vocabulary has no token {unknown} ({tokenizer.get_vocab_size():,} tokens). Ids of "
            "another tokenizer, such as tiktoken's, mean nothing here: send texts.",
            param="input",
        )
    return texts or tokenizer.decode_batch([list(ids) for ids in arrays], skip_special_tokens=True)


def _to_json(found: Embeddings, *, base64: bool) -> bytes:
    """The answer as JSON, written without pydantic: validating a list of floats costs more than computing it."""
    vectors = found.vectors.astype("<f4", copy=False)
    read = sum(found.tokens)
    data: list[dict[str, Any]] = [
        {"object": "embedding", "index": index, "embedding": b64encode(vector.tobytes()).decode() if base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": read, "total_tokens": read, "truncated_tokens": sum(found.truncated_tokens)}
    answer = {"object": "list", "data": data, "model": found.fingerprint.model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
