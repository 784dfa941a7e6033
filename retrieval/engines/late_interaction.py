"""Late interaction as second stage: compares the token vectors of an embedding model pairwise (MaxSim), which needs no
second set of weights. Source: Khattab and Zaharia, ColBERT, 2020. The weights of query tokens are ours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from retrieval.device.devices import Device
from retrieval.device.gated import encode_gated
from retrieval.engines.adapter import EngineModel
from retrieval.engines.over_devices import OverDevices
from retrieval.engines.replicas import Replicas
from retrieval.engines.vllm.engine import VllmEngine
from retrieval.engines.vllm.messages import Output
from retrieval.engines.vllm.models import engines_on
from retrieval.engines.vllm.options import EngineOptions, EngineTask
from retrieval.errors import ConfigurationError
from retrieval.models.folder import read_prefixes, read_surprisals, read_tokenizer
from retrieval.models.profiles import Model
from retrieval.text.prompts import EmbeddingPrompts, Prompt
from retrieval.types import Calibration, Lane, RerankScores, TokenIds, Vectors

WEIGHT = 0.7
"""Measured with all-MiniLM-L6-v2 over hybrid recall, nDCG@10 on questions about paragraphs (SQuAD), on literature
search (CACM) and on abstracts (Vaswani): 0.931, 0.502, 0.502 at a weight of 1; 0.930, 0.568, 0.519 at 0.7; 0.920,
0.581, 0.514 at 0.5; recall alone 0.897, 0.568, 0.493."""


class SharedEngine:
    """The engine of an embedder with the same weights, used for token vectors. The embedder starts and closes it."""

    def __init__(self, engine: VllmEngine | Replicas | OverDevices) -> None:
        self._engine = engine

    @property
    def options(self) -> EngineOptions:
        return self._engine.options

    @property
    def failure(self) -> str | None:
        return self._engine.failure

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def encode(
        self, token_ids: Sequence[TokenIds], *, lane: Lane, dimensions: int | None = None
    ) -> Sequence[Output]:
        """Returns arrays of shape (tokens, dimension). Otherwise as `VllmEngine.encode`."""
        return await self._engine.encode(token_ids, lane=lane, dimensions=dimensions, task="token_embed")


class LateInteractionReranker(EngineModel[VllmEngine | OverDevices | SharedEngine]):
    """Implements Reranker. The score is the mean over the query's tokens of the highest cosine with any token of the
    passage, mapped from [-1, 1] to [0, 1] by (1 + x) / 2, which keeps the order. Only the text's own tokens count:
    special tokens and prefixes have similar vectors in every passage, and ranking is better without them. If the model
    states so, the mean is weighted by how rare each token is in the language, so that `of` counts less than a name.

    These scores are not probabilities: with all-MiniLM-L6-v2, unrelated passages score about 0.6 and passages that
    answer the query 0.75 to 0.9. Thresholds of a cross-encoder do not carry over. `instruction` has no effect.
    """

    task: ClassVar[EngineTask] = "token_embed"

    def __init__(
        self,
        options: EngineOptions,
        *,
        devices: Sequence[Device] = (),
        shared: SharedEngine | None = None,
        on_restart: Callable[[], Awaitable[None]] | None = None,
        weight: float = WEIGHT,
        calibration: Calibration | None = None,
        weighs_tokens: bool = False,
    ) -> None:
        """`shared` is None for engines of its own, on `devices`. `options.task` must be `token_embed`. `weight` is the
        share of these scores in the order of hits. `weighs_tokens` needs a Unigram vocabulary. Raises ModelUnavailable,
        ConfigurationError.
        """
        if options.task != self.task:
            raise ConfigurationError(f"Late interaction needs an engine with the task {self.task}, not {options.task}")
        super().__init__(shared or engines_on(devices, "reranker", options, on_restart), None)
        self._model = options.name
        self._weight = weight
        self._calibration = calibration
        self._surprisals = read_surprisals(options.model) if weighs_tokens else None
        self._prompts = EmbeddingPrompts(
            read_tokenizer(options.model),
            max_model_len=options.max_model_len,
            query_format="plain",
            prefixes=read_prefixes(options.model),
        )

    @classmethod
    def for_model(
        cls,
        model: Model,
        options: EngineOptions,
        *,
        devices: Sequence[Device] = (),
        shared: SharedEngine | None = None,
    ) -> Self:
        """Returns the second stage of `model`, which `options` serve. Raises as the constructor does."""
        return cls(
            options,
            devices=devices,
            shared=shared,
            weight=model.late_interaction_weight,
            calibration=model.calibration,
            weighs_tokens=model.weighs_tokens,
        )

    @property
    def model(self) -> str:
        return self._model

    @property
    def weight(self) -> float:
        return self._weight

    @property
    def calibration(self) -> Calibration | None:
        return self._calibration

    async def rerank(
        self, query: str, passages: Sequence[str], *, lane: Lane, instruction: str | None = None
    ) -> RerankScores:
        """Implements `Reranker.rerank`. Query and passages are truncated at their end to the model's window. A passage
        without tokens scores 0.
        """
        del instruction  # part of the port
        prompts = await asyncio.to_thread(self._build, query, passages)
        submitted = prompts if passages else []
        ids = [prompt.ids for prompt in submitted]
        outputs = await encode_gated(self._gate, self.engine, ids, lane=lane)
        scores = await asyncio.to_thread(self._scores, prompts[0].ids, outputs) if passages else ()
        return RerankScores(
            scores=scores,
            tokens=sum(len(prompt.ids) for prompt in submitted),
            truncated_tokens=tuple(prompt.truncated_tokens for prompt in prompts[1:]),
            truncated_query_tokens=prompts[0].truncated_tokens,
            model=self._model,
        )

    def _build(self, query: str, passages: Sequence[str]) -> list[Prompt]:
        return [*self._prompts.build([query], "query"), *self._prompts.build(passages, "document")]

    def _scores(self, query_ids: TokenIds, outputs: Sequence[Vectors]) -> tuple[float, ...]:
        first, *others = outputs
        own = self._prompts.text_of(len(first), "query")
        passages = [output[self._prompts.text_of(len(output), "document")] for output in others]
        weights = None if self._surprisals is None else self._surprisals[list(query_ids[own])]
        return tuple(((1 + maxsim(first[own], passages, weights)) / 2).tolist())


def maxsim(
    query: Vectors, passages: Sequence[Vectors], weights: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Returns an array of shape (passages,): for each passage, the mean over the rows of `query`, shape (tokens,
    dimension), of the highest cosine with any row of the passage. -1 where either side has no rows. Rows need not have
    unit length. `weights` has the shape (tokens,), all above 0; None: equal.
    """
    means = np.full(len(passages), -1, dtype=np.float32)
    filled = [number for number, passage in enumerate(passages) if len(passage)]
    if not filled or not len(query):
        return means
    tokens = np.concatenate([passages[number] for number in filled])
    # Dividing the few similarities is cheaper than normalising the many vectors.
    cosines = _normalized(query) @ tokens.T
    cosines /= np.maximum(np.sqrt(np.einsum("ij,ij->i", tokens, tokens)), np.finfo(np.float32).tiny)
    starts = np.cumsum([0, *(len(passages[number]) for number in filled[:-1])])
    means[filled] = np.average(np.maximum.reduceat(cosines, starts, axis=1), axis=0, weights=weights)
    return np.clip(means, -1, 1)


def _normalized(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
