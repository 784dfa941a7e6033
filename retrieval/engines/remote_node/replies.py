"""Parses and checks a node's responses about its embedder (pure)."""

from base64 import b64decode
from dataclasses import dataclass, fields
from hashlib import sha256

import httpx
import numpy as np
import orjson
from tokenizers import Tokenizer

import retrieval.errors
from retrieval.errors import EngineFailed, TandemError, Unavailable
from retrieval.text.tokenizer import encode_texts
from retrieval.types import Fingerprint, Vectors

MESSAGE_CHARACTERS = 300
"""Characters of a node's own message in an error: enough to see what was wrong, too few to carry documents along."""
PROBE = "Naïve cafés, 3.14159 km away:\tdef f(x): return {'北京': x**2} # 窑炉 🐈 Straße ЁЛКА"

_ERRORS: dict[str, type[TandemError]] = {
    each.code: each
    for each in vars(retrieval.errors).values()
    if isinstance(each, type) and issubclass(each, TandemError) and each is not TandemError
}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The properties of the node's model that must not change while a worker uses it."""

    fingerprint: Fingerprint
    max_tokens: int
    tokenizer: str
    """See `tokenizer_digest`."""


@dataclass(frozen=True, slots=True)
class EmbedReply:
    vectors: Vectors
    tokens: tuple[int, ...]
    truncated_tokens: tuple[int, ...]
    fingerprint: Fingerprint


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """Returns 12 hexadecimal digits over the tokens of a text that different tokenizers split differently."""
    (encoding,) = encode_texts(tokenizer, [PROBE])
    return sha256(repr(encoding.ids).encode()).hexdigest()[:12]


def served_model(content: bytes) -> ServedModel:
    """Parses the node's description of its model. Raises EngineFailed."""
    try:
        reply = orjson.loads(content)
        return ServedModel(_fingerprint(reply), int(reply["max_tokens"]), str(reply["tokenizer"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise EngineFailed("The answer does not describe an embedder: is it a node?") from error


def embed_reply(content: bytes, count: int) -> EmbedReply:
    """Parses the response for `count` texts. Raises EngineFailed."""
    try:
        reply = orjson.loads(content)
        fingerprint = _fingerprint(reply)
        raw = np.frombuffer(b64decode(reply["vectors"], validate=True), dtype="<f4")
        vectors: Vectors = raw.astype(np.float32).reshape(count, fingerprint.dimension)
        tokens = tuple(int(number) for number in reply["tokens"])
        truncated = tuple(int(number) for number in reply["truncated_tokens"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise EngineFailed(f"The node's answer does not hold {count} vectors as it should") from error
    if len(tokens) != count or len(truncated) != count:
        raise EngineFailed(f"The node counted the tokens of {len(tokens)} texts, not of {count}")
    if not np.isfinite(vectors).all():
        raise EngineFailed("The node answered a vector that is not finite")
    return EmbedReply(vectors, tokens, truncated, fingerprint)


def error_of(url: str, response: httpx.Response) -> TandemError:
    """Returns the node's error as the kernel's class of the same code. Without such a class the status decides:
    Unavailable if a retry or a correction of the node's settings may help, else EngineFailed. `detail["status"]` is the
    status.
    """
    status = response.status_code
    message, code, detail = response.text, "", {}
    try:
        said = orjson.loads(response.content)["error"]
        message, code, detail = str(said["message"]), str(said["code"]), dict(said["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        pass  # not a node's answer, possibly a proxy's
    retryable = status in {401, 403, 408, 429} or status >= 500
    kind = _ERRORS.get(code, Unavailable if retryable else EngineFailed)
    error = kind(f"The node at {url} answered {status}: {' '.join(message.split())[:MESSAGE_CHARACTERS]}")
    error.detail = {**detail, "status": status}
    return error


def _fingerprint(reply: dict[str, dict[str, object]]) -> Fingerprint:
    said = reply["fingerprint"]
    found = Fingerprint(**{field.name: said[field.name] for field in fields(Fingerprint)})  # type: ignore[arg-type]
    if not isinstance(found.dimension, int):
        raise TypeError
    return found
