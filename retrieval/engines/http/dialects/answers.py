"""Parses and checks the responses of model servers (pure). Every function raises EngineFailed."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from retrieval.errors import EngineFailed
from retrieval.types import Vector

UNEXPECTED = "The server's answer is not the expected JSON: is it a model server that speaks the dialect set for it?"


def json_of(content: bytes) -> object:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise EngineFailed(UNEXPECTED) from error


def by_place(answer: object, key: str | None, count: int) -> list[Any]:
    """Returns the list under `key` (None: the answer itself), with one item for each of `count` inputs."""
    found = answer
    if key is not None:
        found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise EngineFailed(UNEXPECTED)
    if len(found) != count:
        raise EngineFailed(f"The server answered {len(found)} results, not one for each of {count} inputs")
    return found


def by_index(answer: object, key: str | None, count: int) -> list[Mapping[str, object]]:
    """Returns the same list, sorted into the order of the inputs by each item's `index`."""
    items = by_place(answer, key, count)
    try:
        ordered = sorted(items, key=lambda item: int(item["index"]))
        indices = [int(item["index"]) for item in ordered]
    except (KeyError, TypeError, ValueError) as error:
        raise EngineFailed(UNEXPECTED) from error
    if indices != list(range(count)):
        raise EngineFailed(f"The server's results are not one for each of {count} inputs")
    return ordered


def vectors(embeddings: Sequence[object]) -> list[Vector]:
    """Returns finite vectors of unit length and of one dimension. Each embedding is a list of numbers or base64 of
    float32.
    """
    return _checked([_decoded(embedding) for embedding in embeddings])


def vectors_of_bytes(content: bytes, count: int) -> list[Vector]:
    """Returns the same from `count` consecutive float32 vectors."""
    if not content or len(content) % (4 * count):
        raise EngineFailed(f"The server answered {len(content)} bytes, which are not {count} vectors of float32")
    return _checked(list(np.frombuffer(content, dtype="<f4").astype(np.float32).reshape(count, -1)))


def scores(values: Sequence[object]) -> list[Vector]:
    """Returns scores, each in [0, 1], as arrays of shape (1,)."""
    try:
        found: list[Vector] = [np.array([value], dtype=np.float32) for value in values]
    except (ValueError, TypeError) as error:
        raise EngineFailed("The server answered a score that is not a number") from error
    for score in found:
        if not 0 <= score[0] <= 1:  # as NaN is not
            raise EngineFailed(f"The server answered {score[0]:g} where a score in [0, 1] belongs")
    return found


def _decoded(embedding: object) -> Vector:
    try:
        if isinstance(embedding, str):
            vector: Vector = np.frombuffer(b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        else:  # a server without base64
            vector = np.array(embedding, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise EngineFailed("The server answered an embedding that is neither base64 nor numbers") from error
    return vector


def _checked(found: Sequence[Vector]) -> list[Vector]:
    for vector in found:
        if vector.ndim != 1 or not vector.any():
            raise EngineFailed(f"The server answered an embedding of shape {vector.shape} without a direction")
        if not np.isfinite(vector).all():
            raise EngineFailed("The server answered a value that is not finite")
    if len({vector.shape for vector in found}) > 1:
        raise EngineFailed("The server answered vectors of different dimensions")
    return [vector / np.linalg.norm(vector) for vector in found]  # some servers do not normalise
