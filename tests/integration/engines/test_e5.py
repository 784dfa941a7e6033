"""multilingual-e5-small as the hub makes it from its package: what its vectors say of texts in two languages."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from retrieval.engines.late_interaction import maxsim
from retrieval.models.folder import read_prefixes, read_tokenizer
from retrieval.models.hub import ModelHub
from retrieval.models.profiles import profile
from retrieval.text.prompts import EmbeddingPrompts
from retrieval.types import TextKind, Vectors

QUERIES = ["How is bread baked?", "面包怎么烤？"]
PASSAGES = [
    "Bread is baked in a hot oven for half an hour until its crust is brown.",
    "面包要在高温的烤箱里烤半个小时，直到外皮变成棕色。",
    "The stock market fell by three percent on Monday.",
    "周一股市下跌了百分之三。",
]


@pytest.fixture(scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hub = ModelHub(tmp_path_factory.mktemp("models"))
    found = await hub.resolve(profile("e5").embed.id)
    assert await hub.resolve(profile("e5").embed.id) == found  # and is not converted a second time
    return found


@pytest.fixture(scope="module")
def prompts(folder: Path) -> EmbeddingPrompts:
    return EmbeddingPrompts(
        read_tokenizer(folder), max_model_len=512, query_format="plain", prefixes=read_prefixes(folder)
    )


@pytest.fixture(scope="module")
def token_vectors(folder: Path, prompts: EmbeddingPrompts) -> dict[str, Vectors]:
    """Of every query and passage, all tokens of its prompt."""
    model = BertModel.from_pretrained(str(folder), add_pooling_layer=False).float().eval()
    kinds: list[tuple[str, TextKind]] = [*((text, "query") for text in QUERIES), *((t, "document") for t in PASSAGES)]
    with torch.no_grad():
        return {
            text: model(torch.tensor([prompts.build([text], kind)[0].ids])).last_hidden_state[0].numpy()
            for text, kind in kinds
        }


def unit(vectors: Vectors) -> Vectors:
    mean = vectors.mean(axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("query", QUERIES)
def test_passages_are_found_in_both_languages(token_vectors: dict[str, Vectors], query: str) -> None:
    cosines = [float(unit(token_vectors[query]) @ unit(token_vectors[passage])) for passage in PASSAGES]
    assert min(cosines[:2]) > max(cosines[2:])


@pytest.mark.parametrize("query", QUERIES)
def test_tokens_rank_across_languages_without_prefixes(
    token_vectors: dict[str, Vectors], prompts: EmbeddingPrompts, query: str
) -> None:
    own = token_vectors[query][prompts.text_of(len(token_vectors[query]), "query")]
    others = [token_vectors[text][prompts.text_of(len(token_vectors[text]), "document")] for text in PASSAGES]
    assert len(own) == prompts.count([query])[0]
    assert [len(other) for other in others] == prompts.count(PASSAGES)
    scores = maxsim(own, others)
    assert min(scores[:2]) > max(scores[2:])


def test_chunks_leave_room_for_the_prefix(prompts: EmbeddingPrompts) -> None:
    text = "bread " * 600
    [prompt] = prompts.build([text], "document")
    assert len(prompt.ids) == 511  # of the window of 512, one is kept free
    assert prompts.max_tokens == 511 - 2 - 2  # special tokens, prefix
    assert prompt.truncated_tokens == prompts.count([text])[0] - prompts.max_tokens
