import json
from pathlib import Path

import pytest

from app.cli.bench.load.corpus import MadeUpCorpus
from app.cli.bench.load.words import WORDS
from retrieval.errors import ConfigurationError
from retrieval.models.dummy import SHAPES, write_dummy_pair
from retrieval.models.files import missing_files
from retrieval.models.folder import full_dimension, is_causal_model, read_tokenizer, require_reranker
from retrieval.models.profiles import Model, with_facts
from retrieval.text.prompts import EmbeddingPrompts, RerankPromptBuilder
from retrieval.text.qwen3_tokenizer import END_OF_TEXT


@pytest.mark.parametrize(("shape", "dimension"), [("qwen3-0.6b", 1024), ("qwen3-4b", 2560), ("qwen3-8b", 4096)])
def test_folders_are_what_the_adapters_want(shape: str, dimension: int, tmp_path: Path) -> None:
    pair = write_dummy_pair(shape, tmp_path, texts=WORDS)
    for folder in (pair.embed, pair.rerank):
        assert missing_files(folder, weights=False) == ()
        assert missing_files(folder) == ("model.safetensors",)
        facts = with_facts(Model(str(folder)), folder)
        assert (facts.family, facts.dimension, facts.max_model_len) == ("qwen3", dimension, 8192)
        assert shape in facts.name
    require_reranker(pair.rerank)
    assert is_causal_model(pair.rerank)
    assert full_dimension(pair.embed) == dimension


def test_every_word_is_one_token(tmp_path: Path) -> None:
    tokenizer = read_tokenizer(write_dummy_pair("qwen3-0.6b", tmp_path, texts=WORDS).rerank)
    for word in (*WORDS, "yes", "no"):
        assert len(tokenizer.encode(word).ids) == 1
        assert len(tokenizer.encode(f"a {word}").ids) == 2
    text = MadeUpCorpus(words=120).document(1)["text"]
    assert len(tokenizer.encode(text).ids) == 120 + text.count(".")


def test_prompts_are_about_as_long_as_with_the_published_tokenizer(tmp_path: Path) -> None:
    pair = write_dummy_pair("qwen3-0.6b", tmp_path, texts=WORDS)
    embedding, reranker = read_tokenizer(pair.embed), read_tokenizer(pair.rerank)
    [prompt] = EmbeddingPrompts(embedding, max_model_len=512, query_format="instruct").build(["water"], "document")
    assert [embedding.id_to_token(number) for number in prompt.ids] == ["water", END_OF_TEXT]
    built = RerankPromptBuilder(reranker, max_model_len=512).build("bread", ["water"])
    tokens = [reranker.id_to_token(number) for number in built.prompts[0].ids]
    assert tokens[0] == "<|im_start|>"
    assert tokens.count("<|im_end|>") == 2
    assert 60 < len(tokens) < 90
    assert max(built.prompts[0].ids) < int(str(SHAPES["qwen3-0.6b"]["vocab_size"]))


def test_the_shape_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    config = {**SHAPES["qwen3-0.6b"], "hidden_size": 64, "architectures": ["Else"]}
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(config))
    pair = write_dummy_pair(str(tmp_path / "tiny"), tmp_path / "made", texts=["word"])
    assert full_dimension(pair.embed) == 64
    assert is_causal_model(pair.rerank)
    assert pair.embed.name == "tiny-embedding"


@pytest.mark.parametrize("config", [None, "{", '{"model_type": "bert", "hidden_size": 4, "vocab_size": 9}', "[]"])
def test_what_is_no_shape_is_refused(config: str | None, tmp_path: Path) -> None:
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigurationError, match="neither one of"):
        write_dummy_pair(str(tmp_path), tmp_path / "made", texts=[])


def test_a_vocabulary_that_is_too_small_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**SHAPES["qwen3-0.6b"], "vocab_size": 100}))
    with pytest.raises(ConfigurationError, match="vocabulary of 100"):
        write_dummy_pair(str(tmp_path), tmp_path / "made", texts=[])
