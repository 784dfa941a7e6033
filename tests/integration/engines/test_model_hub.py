"""Downloads by the hubs' own libraries, from a real HTTP server."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from retrieval.errors import ModelUnavailable
from retrieval.models.files import installed
from retrieval.models.hub import ModelHub
from tests.support.models.hub import MIB, WEIGHTS, Hub, model_files

ID = "tests/Tiny"
NEEDED = {"config.json", "tokenizer.json", "1_Pooling/config.json", WEIGHTS}


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An endpoint that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    """An endpoint that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def hub_for(tmp_path: Path, modelscope: str, huggingface: str) -> ModelHub:
    return ModelHub(
        tmp_path / "models", modelscope_endpoint=modelscope, huggingface_endpoint=huggingface, contact_seconds=0.5
    )


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_modelscope_delivers_the_needed_files_and_reports_progress(
    hub: Hub, refusing: str, tmp_path: Path
) -> None:
    hub.modelscope[ID] = files = model_files()
    seen: dict[str, list[tuple[int, int]]] = {}

    folder = await hub_for(tmp_path, hub.endpoint, refusing).resolve(
        ID, lambda file, done, total: seen.setdefault(file, []).append((done, total))
    )

    assert folder == tmp_path / "models" / "tests" / "Tiny"
    assert names(folder) == NEEDED
    assert all((folder / name).read_bytes() == files[name] for name in NEEDED)
    size = len(files[WEIGHTS])
    assert seen[WEIGHTS][0] == (0, size)
    assert seen[WEIGHTS][-1] == (size, size)
    assert len(seen[WEIGHTS]) > 2
    assert set(seen) == NEEDED


async def test_a_model_that_is_there_needs_no_hub(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.modelscope[ID] = model_files()
    folder = await hub_for(tmp_path, hub.endpoint, refusing).resolve(ID)
    assert await hub_for(tmp_path, refusing, refusing).resolve(ID) == folder


async def test_a_cut_connection_resumes_within_the_download(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.modelscope[ID] = files = model_files()
    hub.cut[WEIGHTS] = 2 * MIB

    folder = await hub_for(tmp_path, hub.endpoint, refusing).resolve(ID)

    first, second = hub.ranges(WEIGHTS)
    assert first is None
    assert second is not None
    assert second.startswith("bytes=")
    assert int(second.removeprefix("bytes=").rstrip("-")) >= MIB
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]


async def test_a_killed_download_resumes_at_the_next_start(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.modelscope[ID] = files = model_files()
    hub.stall[WEIGHTS] = 2 * MIB + MIB // 2
    script = (
        "import asyncio, pathlib, sys; from retrieval.models.hub import ModelHub;"
        "folder, one, two, model = sys.argv[1:];"
        "hub = ModelHub(pathlib.Path(folder), modelscope_endpoint=one, huggingface_endpoint=two);"
        "asyncio.run(hub.resolve(model))"
    )
    models = tmp_path / "models"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(models), hub.endpoint, refusing, ID)
    arrived = models / "tests" / "Tiny.partial" / f"{WEIGHTS}.incomplete"
    async with asyncio.timeout(60):
        while not arrived.is_file() or arrived.stat().st_size < 2 * MIB:
            assert child.returncode is None
            await asyncio.sleep(0.05)
    child.kill()
    await child.wait()
    assert [(model.name, model.complete) for model in installed(models)] == [(ID, False)]

    folder = await hub_for(tmp_path, hub.endpoint, refusing).resolve(ID)

    resumed = hub.ranges(WEIGHTS)[-1]
    assert resumed is not None
    assert int(resumed.removeprefix("bytes=").rstrip("-")) >= 2 * MIB
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert [(model.name, model.complete) for model in installed(models)] == [(ID, True)]


async def test_a_wrong_checksum_is_refused(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.modelscope[ID] = model_files(weights=1000)
    hub.corrupt.add(WEIGHTS)

    with pytest.raises(ModelUnavailable, match=r"model\.safetensors.*mismatch") as caught:
        await hub_for(tmp_path, hub.endpoint, refusing).resolve(ID)

    assert "\n" not in caught.value.message
    assert not list((tmp_path / "models").rglob(f"{WEIGHTS}*"))


async def test_cancelling_ends_the_download(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.modelscope[ID] = model_files()
    hub.stall[WEIGHTS] = 2 * MIB + MIB // 2
    loop, halfway = asyncio.get_running_loop(), asyncio.Event()

    def progress(file: str, done: int, total: int) -> None:
        if file == WEIGHTS and done >= 2 * MIB:
            loop.call_soon_threadsafe(halfway.set)

    task = asyncio.create_task(hub_for(tmp_path, hub.endpoint, refusing).resolve(ID, progress))
    async with asyncio.timeout(60):
        await halfway.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hub.go_on.set()

    lock = FileLock(tmp_path / "models" / ".lock" / "tests--Tiny.lock")
    await asyncio.to_thread(lock.acquire, timeout=30)  # held until the download's threads are gone
    lock.release()
    assert (tmp_path / "models" / "tests" / "Tiny.partial").is_dir()
    assert not (tmp_path / "models" / "tests" / "Tiny").exists()


async def test_hugging_face_follows_where_modelscope_has_no_such_model(hub: Hub, tmp_path: Path) -> None:
    hub.huggingface[ID] = files = model_files(weights=12 * MIB)
    hub.cut[WEIGHTS] = 11 * MIB  # the library keeps what came in pieces of 10 MB
    seen: list[tuple[int, int]] = []

    folder = await hub_for(tmp_path, hub.endpoint, hub.endpoint).resolve(
        ID, lambda file, done, total: seen.append((done, total)) if file == WEIGHTS else None
    )

    assert names(folder) == NEEDED
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert hub.ranges(WEIGHTS)[0] is None
    assert hub.ranges(WEIGHTS)[-1] is not None
    assert seen[-1] == (len(files[WEIGHTS]), len(files[WEIGHTS]))


async def test_hugging_face_with_a_wrong_checksum_is_refused(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.huggingface[ID] = model_files(weights=1000)
    hub.corrupt.add(WEIGHTS)
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors: hash mismatch"):
        await hub_for(tmp_path, refusing, hub.endpoint).resolve(ID)
    assert not list((tmp_path / "models" / "tests").rglob(WEIGHTS))


async def test_a_model_that_no_hub_has(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"tests/Tiny.*ModelScope.*not exists.*Hugging Face") as caught:
        await hub_for(tmp_path, hub.endpoint, hub.endpoint).resolve(ID)
    assert "\n" not in caught.value.message


async def test_a_repository_without_weights(hub: Hub, refusing: str, tmp_path: Path) -> None:
    hub.modelscope[ID] = model_files()
    del hub.modelscope[ID][WEIGHTS]
    with pytest.raises(ModelUnavailable, match=r"its repository lacks model\.safetensors"):
        await hub_for(tmp_path, hub.endpoint, refusing).resolve(ID)


async def test_no_hub_in_reach_is_one_line_and_no_minutes_of_retries(
    nowhere: str, refusing: str, tmp_path: Path
) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(ModelUnavailable) as caught:
            await hub_for(tmp_path, nowhere, refusing).resolve(ID)
    message = caught.value.message
    assert "\n" not in message
    assert f"ModelScope ({nowhere}): no answer in 0.5 s" in message
    assert f"Hugging Face ({refusing}): " in message
    assert "TANDEM_MODELS=e5" in message
