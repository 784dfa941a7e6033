"""What a model server answered, checked before anybody believes it (pure).

Embeddings as OpenAI's API has them: https://platform.openai.com/docs/api-reference/embeddings. Classification as vLLM's
`/classify` has it.
"""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import orjson

from retrieval.errors import EngineFailed
from retrieval.types import Vector


def outputs_of(task: Literal["embed", "classify"], content: bytes, count: int) -> list[Vector]:
    """One finite float32 array per input, in the order of the inputs: a vector of unit length for `embed`, one
    probability in [0, 1], shape (1,), for `classify`. Raises EngineFailed."""
    outputs = [_vector(item) if task == "embed" else _probability(item) for item in _ordered(content, count)]
    if len({output.shape for output in outputs}) > 1:
        raise EngineFailed("The server answered vectors of different dimensions")
    if not all(np.isfinite(output).all() for output in outputs):
        raise EngineFailed("The server answered a value that is not finite")
    return outputs


def _ordered(content: bytes, count: int) -> Sequence[Mapping[str, object]]:
    try:
        items = sorted(orjson.loads(content)["data"], key=lambda item: int(item["index"]))
        indices = [int(item["index"]) for item in items]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise EngineFailed("The server's answer is not the expected JSON: is it a model server?") from error
    if indices != list(range(count)):
        raise EngineFailed(f"The server answered {len(indices)} results, not one for each of {count} inputs")
    return items


def _vector(item: Mapping[str, object]) -> Vector:
    embedding = item.get("embedding")
    try:
        if isinstance(embedding, str):
            vector: Vector = np.frombuffer(b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        else:  # a server that does not know base64
            vector = np.array(embedding, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise EngineFailed("The server answered an embedding that is neither base64 nor numbers") from error
    if vector.ndim != 1 or not vector.any():
        raise EngineFailed(f"The server answered an embedding of shape {vector.shape} without a direction")
    unit: Vector = vector / np.linalg.norm(vector)  # some servers leave that to the caller
    return unit


def _probability(item: Mapping[str, object]) -> Vector:
    probabilities = item.get("probs")
    if not isinstance(probabilities, list) or len(probabilities) != 1:
        raise EngineFailed(
            "The server's classifier does not answer one probability: start it with the reranker's hf_overrides"
        )
    try:
        score: Vector = np.array(probabilities, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise EngineFailed("The server answered a probability that is not a number") from error
    if score[0] < 0 or score[0] > 1:
        raise EngineFailed(f"The server answered {score[0]:g} where a probability in [0, 1] belongs")
    return score
