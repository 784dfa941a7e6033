"""The embedder of a node, for other processes. The node owns the accelerator and other processes reach it over HTTP, so
the node's scheduler sees all work.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import urlencode

import httpx
import numpy as np
import orjson
from tokenizers import Tokenizer

from retrieval.engines.http.connection import HttpConnection
from retrieval.engines.remote_node.replies import (
    EmbedReply,
    ServedModel,
    embed_reply,
    error_of,
    served_model,
    tokenizer_digest,
)
from retrieval.errors import (
    ConfigurationError,
    EngineFailed,
    FingerprintMismatch,
    InvalidText,
    NotReady,
    TandemError,
    Unavailable,
)
from retrieval.gather_or_cancel import gather_or_cancel
from retrieval.text.tokenizer import count_tokens
from retrieval.types import Embeddings, Fingerprint, Lane, TextKind
from retrieval.vectors_for import wanted_for

PATH = "/embed"

OnChanged = Callable[[FingerprintMismatch], None]


class NodeChanged(FingerprintMismatch):
    """The node computes other vectors than when the work was begun. No text is at fault: another process may do the
    work, or this one when the node is as it was.
    """

    retryable = True


@dataclass(frozen=True, slots=True)
class NodeServerOptions:
    url: str
    """Root of the node: `http://127.0.0.1:8080`."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token."""
    texts_per_request: int = 32
    bytes_per_request: int = 128 * 1024
    """A request is closed before its texts exceed this in UTF-8; one longer text goes alone. Even written with six
    characters a byte it stays below the smallest body that a node can be set to take."""
    requests_at_once: int = 4
    """Limit per lane."""
    timeout_seconds: float = 300.0
    """Seconds for one request, which may wait behind those of all other processes."""
    patience_seconds: float = 300.0
    """How long bulk work retries on a node that is overloaded."""
    probe_seconds: float = 5.0


class NodeEmbedder:
    """Implements Embedder. The tokenizer runs in this process, which chunks documents with it; the node composes
    prompts and truncates them.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        node: NodeServerOptions,
        *,
        on_changed: OnChanged | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`tokenizer` is the tokenizer of the node's model, truncation and padding off. `on_changed` is called once if
        the node serves another model or another window than at the start: this process cannot continue then.
        `transport` has the meaning of HttpConnection's.
        """
        self._tokenizer = tokenizer
        self._node = node
        self._on_changed = on_changed
        self._model: ServedModel | None = None
        self._changed: NodeChanged | None = None
        self._connection = HttpConnection(
            node.url,
            api_key=node.api_key,
            requests_at_once=node.requests_at_once,
            timeout_seconds=node.timeout_seconds,
            probe_path=PATH,
            probe_seconds=node.probe_seconds,
            check=self._check_response,
            transport=transport,
        )

    @property
    def failure(self) -> str | None:
        return self._changed.message if self._changed else self._connection.failure

    @property
    def fingerprint(self) -> Fingerprint:
        return self._known().fingerprint

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def max_tokens(self) -> int:
        return self._known().max_tokens

    def count(self, texts: Sequence[str]) -> Sequence[int]:
        return count_tokens(self._tokenizer, texts)

    @property
    def reducible(self) -> bool:
        """Always raises: collections are created on the node that has the model."""
        return False

    async def start(self) -> None:
        """Requests the description of the node's model. Raises Unavailable (node absent or starting: retry) and
        ConfigurationError (not a node, no access, or a model with another tokenizer).
        """
        self._connection.open()
        response = await self._connection.get(PATH)
        if response.status_code in {401, 403}:
            raise ConfigurationError(f"TANDEM_ENGINE_API_KEY: the node at {self._node.url} does not take it.")
        if response.status_code != httpx.codes.OK:
            error = error_of(self._node.url, response)
            raise error if isinstance(error, Unavailable) else self._no_node()
        try:
            model = served_model(response.content)
        except EngineFailed as error:
            raise self._no_node() from error
        if model.tokenizer != tokenizer_digest(self._tokenizer):
            raise ConfigurationError(
                f"TANDEM_MODELS: the node at {self._node.url} serves {model.fingerprint.model}, whose tokenizer is not "
                "that of the model here. Set the same models as the node has."
            )
        self._model = model
        self._connection.found(None)
        self._connection.watch()

    async def close(self) -> None:
        """Aborts the requests in flight; they and later ones fail with EngineDead."""
        await self._connection.close()

    async def embed(
        self, texts: Sequence[str], *, kind: TextKind, lane: Lane, instruction: str | None = None
    ) -> Embeddings:
        """Implements `Embedder.embed`. Raises Unavailable (late, or overloaded for long) and NodeChanged as well: the
        node serves another model now, or its engine computes other vectors than those of the collection that
        `vectors_for` names. One failed request of a call cancels the others.
        """
        fingerprint = self._known().fingerprint
        replies = await gather_or_cancel(
            self._request(batch, kind, lane, instruction) for batch in self._batches(texts)
        )
        nothing = np.empty((0, fingerprint.dimension), dtype=np.float32)
        return Embeddings(
            vectors=np.concatenate([reply.vectors for reply in replies] or [nothing]),
            tokens=tuple(number for reply in replies for number in reply.tokens),
            truncated_tokens=tuple(number for reply in replies for number in reply.truncated_tokens),
            fingerprint=fingerprint,
        )

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text in texts:
            try:
                more = len(text.encode())
            except UnicodeEncodeError as error:
                raise InvalidText("A text holds a lone surrogate, which no model can read") from error
            full = len(batch) == self._node.texts_per_request or size + more > self._node.bytes_per_request
            if batch and full:
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += more
        if batch:
            yield batch

    async def _request(self, texts: list[str], kind: TextKind, lane: Lane, instruction: str | None) -> EmbedReply:
        """Retries in the bulk lane: a document should not fail because the node is busy."""
        body = orjson.dumps({"texts": texts, "kind": kind, "lane": lane.name.lower(), "instruction": instruction})
        collection = wanted_for()
        path = f"{PATH}?{urlencode({'store_name': collection})}" if collection else PATH
        until = monotonic() + (self._node.patience_seconds if lane is Lane.BULK else 0)
        while True:
            if self._changed:
                raise self._changed
            response = await self._connection.post(path, body, lane)
            if response.status_code == httpx.codes.OK:
                return await self._take(response.content, len(texts))
            error = error_of(self._node.url, response)
            if isinstance(error, FingerprintMismatch):
                raise NodeChanged(error.message, **error.detail)
            overloaded = response.status_code == httpx.codes.TOO_MANY_REQUESTS
            if isinstance(error, Unavailable) and not overloaded:
                self._connection.found(error.message)  # until a probe or a request succeeds
            pause = _pause(response)
            if not overloaded or monotonic() + pause > until:
                raise error
            await asyncio.sleep(pause)

    async def _take(self, content: bytes, count: int) -> EmbedReply:
        reply = await asyncio.to_thread(embed_reply, content, count)
        known = self._known()
        if reply.fingerprint != known.fingerprint:
            raise self._note_change(reply.fingerprint)
        self._connection.found(None)
        return reply

    def _check_response(self, response: httpx.Response) -> str | None:
        if response.status_code != httpx.codes.OK:
            return error_of(self._node.url, response).message
        try:
            model = served_model(response.content)
        except EngineFailed as error:
            return error.message
        return None if model == self._model else self._note_change(model.fingerprint).message

    def _note_change(self, now: Fingerprint) -> NodeChanged:
        if self._changed is None:
            before = self._known().fingerprint
            self._changed = NodeChanged(
                f"The node at {self._node.url} no longer serves {before.model} as it did at the start "
                f"(fingerprint {before.digest}, now {now.model}, {now.digest}): start this process again.",
                stored=before.digest,
                running=now.digest,
            )
            if self._on_changed:
                self._on_changed(self._changed)
        return self._changed

    def _known(self) -> ServedModel:
        if self._model is None:
            raise NotReady(f"The node at {self._node.url} has not said yet what it serves.")
        return self._model

    def _no_node(self) -> TandemError:
        return ConfigurationError(f"TANDEM_NODE_URL={self._node.url}: what answers there is no node of this release.")


def _pause(response: httpx.Response) -> float:
    said = response.headers.get("Retry-After", "")
    return min(float(said), 30.0) if said.isdecimal() else 1.0
