from os import environ
from pathlib import Path

import pytest

from app.cli.node import doctor
from app.settings import load_settings
from app.wiring import models
from app.wiring.components import build_store, node_options, worker_environment
from app.wiring.models import build_profile, engine_options, model_hub
from ingestion.disk_reserve import DiskReserve, Space
from retrieval.errors import ModelUnavailable, StoreFull
from retrieval.models.dummy import write_dummy_pair


async def test_who_sees_a_dummy_model_knows_it(tmp_path: Path) -> None:
    pair = write_dummy_pair("qwen3-0.6b", tmp_path, texts=["word"])
    settings = load_settings(models="qwen3-0.6b", embed_model=str(pair.embed), load_format="dummy")
    model = build_profile(settings).embed
    folder = await model_hub(settings).resolve(model.id)
    options = engine_options(settings, model, folder, None)
    assert (options.name, options.load_format) == ("dummy:qwen3-0.6b-embedding", "dummy")
    assert node_options(settings).dummy_weights


async def test_compilation_can_be_done_without(tmp_path: Path) -> None:
    folder = write_dummy_pair("qwen3-0.6b", tmp_path, texts=["word"]).embed
    for wanted in (False, True):
        settings = load_settings(models="qwen3-0.6b", embed_model=str(folder), enforce_eager=wanted)
        assert engine_options(settings, build_profile(settings).embed, folder, None).enforce_eager is wanted


async def test_without_a_compiler_a_cpu_computes_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_dummy_pair("qwen3-0.6b", tmp_path, texts=["word"]).embed
    settings = load_settings(models="qwen3-0.6b", embed_model=str(folder))

    def eager_and_told() -> tuple[bool, list[tuple[str, str]]]:
        told = [(finding.verdict, finding.what) for finding in doctor._engines(settings) if finding.what == "compiler"]
        return engine_options(settings, build_profile(settings).embed, folder, None).enforce_eager, told

    for name, expected in (("sh", (False, [("ok", "compiler")])), ("/no/such", (True, [("note", "compiler")]))):
        monkeypatch.setenv("CXX", name)
        assert eager_and_told() == expected
    for module in (models, doctor):
        monkeypatch.setattr(module, "find_device", lambda: "cuda")
    assert eager_and_told() == (False, [])


async def test_without_weights_no_other_model_is_complete(tmp_path: Path) -> None:
    pair = write_dummy_pair("qwen3-0.6b", tmp_path, texts=["word"])
    settings = load_settings(models="qwen3-0.6b", embed_model=str(pair.embed))
    with pytest.raises(ModelUnavailable, match=r"Missing: model\.safetensors"):
        await model_hub(settings).resolve(build_profile(settings).embed.id)
    options = engine_options(settings, build_profile(settings).embed, pair.embed, None)
    assert (options.name, options.load_format) == ("qwen3-0.6b-embedding", "auto")
    assert not node_options(settings).dummy_weights


async def test_a_worker_process_needs_no_weights(tmp_path: Path) -> None:
    folder = write_dummy_pair("qwen3-0.6b", tmp_path, texts=["word"]).embed
    settings = load_settings(engine="node", node_url="http://node:8080", embed_model=str(folder))
    assert await model_hub(settings).resolve(build_profile(settings).embed.id) == folder


@pytest.mark.parametrize(("name", "value"), [("LOAD_FORMAT", "dummy"), ("QUERY_ENGINE", "true")])
def test_what_engines_of_the_node_know_is_unset_for_its_worker_processes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"TANDEM_{name}", value)
    for name_of_own, value_of_own in worker_environment(load_settings(), "internal").items():
        monkeypatch.setenv(name_of_own, value_of_own)
    assert load_settings().engine == "node"


@pytest.mark.parametrize("keys", [{"API_KEYS": "a key of somebody"}, {"API_KEYS_FILE": "/keys"}])
def test_worker_processes_of_a_node_get_a_key_of_their_own_and_none_of_its_callers(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]
) -> None:
    for name, value in keys.items():
        monkeypatch.setenv(f"TANDEM_{name}", value)
    for name_of_own, value_of_own in worker_environment(load_settings(), "internal").items():
        monkeypatch.setenv(name_of_own, value_of_own)
    worker = load_settings()
    assert worker.engine_api_key is not None
    assert worker.engine_api_key.get_secret_value() == "internal"
    assert not worker.requires_keys
    assert not [value for value in environ.values() if value in keys.values()]


def test_worker_processes_of_a_node_without_keys_get_none() -> None:
    assert worker_environment(load_settings(), "internal")["TANDEM_ENGINE_API_KEY"] == ""


def test_the_embedded_store_keeps_the_reserve_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = DiskReserve([tmp_path], 1, look=lambda path: Space(total=100, free=0))
    monkeypatch.setattr("app.wiring.components.build_reserve", lambda settings: full)
    store = build_store(load_settings(data_dir=tmp_path))
    with pytest.raises(StoreFull):
        store._session.require_room()
