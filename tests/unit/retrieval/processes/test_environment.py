"""What a child process gets to see of its parent's environment."""

import os

import pytest

from retrieval.processes.environment import process_environment

PARENT = {
    "PATH": "/usr/bin",
    "HOME": "/home/tandem",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "2",
    "HF_HOME": "/models",
    "HF_TOKEN": "hf_secret",
    "VLLM_API_KEY": "secret",
    "VLLM_LOGGING_LEVEL": "DEBUG",
    "TANDEM_API_KEYS": "secret",
    "TANDEM_DATABASE_URL": "postgresql://user:secret@host/name",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "HTTPS_PROXY": "http://user:secret@host",
    "SOMETHING_ELSE": "secret",
}


def test_only_what_any_program_needs() -> None:
    assert process_environment(source=PARENT) == {
        name: PARENT[name] for name in ("PATH", "HOME", "LC_ALL", "PYTHONHASHSEED")
    }


def test_what_is_named_is_added() -> None:
    found = process_environment(names=["OMP_NUM_THREADS"], prefixes=["HF_", "VLLM_"], source=PARENT)
    assert found.keys() - process_environment(source=PARENT).keys() == {
        *("OMP_NUM_THREADS", "HF_HOME", "VLLM_LOGGING_LEVEL")
    }


def test_a_secret_passes_by_its_full_name_alone() -> None:
    assert "HF_TOKEN" not in process_environment(prefixes=["HF_", "HF_TOKEN"], source=PARENT)
    assert process_environment(names=["HF_TOKEN"], source=PARENT)["HF_TOKEN"] == "hf_secret"


def test_the_environment_of_this_process_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_API_KEYS", "secret")
    found = process_environment()
    assert found["PATH"] == os.environ["PATH"]
    assert "TANDEM_API_KEYS" not in found
