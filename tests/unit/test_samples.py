"""The handbook in deploy/samples: every page can be read, and names only what exists."""

import csv
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import getmembers, isclass
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import BaseModel
from typer.main import get_command

import app.routes
import app.schemas
import ingestion.errors
import ingestion.pipeline
import ingestion.types
import retrieval.errors
import retrieval.types
from app import cli
from app import errors as app_errors
from app.settings import PREFIX, Settings
from app.telemetry import Metrics
from ingestion.parsers.detect import detect
from ingestion.parsers.xberg import configuration, extract
from retrieval.errors import TandemError
from retrieval.gate import Gate

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy" / "samples"
PAGES = sorted(SAMPLES.iterdir())

CLIENT_VARIABLES = {"TANDEM_URL", "TANDEM_API_KEY"}
"""Read by the command line for --url and --api-key; the node has no such settings."""
OTHER_NAMES = {
    *("not_requested", "model_language", "no_candidates"),  # reasons of an answer without reranking
    *("torch_npu", "local_dir", "avx512_bf16", "classifier_from_token", "is_original_qwen3_reranker"),
    "infinity_emb",
}
"""Words with an underscore that are no code, no field and no metric of ours."""


@pytest_asyncio.fixture(scope="module")
async def texts() -> Mapping[str, str]:
    """Text of every page by file name, as the parser's child process would read it."""
    config = configuration(seconds=60, max_chars=1_000_000)
    found = {}
    for path in PAGES:
        data = path.read_bytes()
        found[path.name] = (await extract(data, detect(data, filename=path.name), config)).text
    return found


def error_classes() -> set[type[TandemError]]:
    """Those that a request, a receipt or the start can end with, whatever else the test run has imported."""
    modules = {module.__name__ for module in (retrieval.errors, ingestion.errors, ingestion.pipeline, app_errors)}
    found = {TandemError}
    waiting = [TandemError]
    while waiting:
        children = waiting.pop().__subclasses__()
        found.update(children)
        waiting.extend(children)
    return {each for each in found if each.__module__ in modules}


def field_names() -> Iterator[str]:
    """Fields of the wire and of the types behind it."""
    for module_info in pkgutil.iter_modules(app.schemas.__path__, "app.schemas."):
        for _, model in getmembers(importlib.import_module(module_info.name), isclass):
            if issubclass(model, BaseModel):
                yield from model.model_fields
    for module in (retrieval.types, ingestion.types):
        for _, each in getmembers(module, isclass):
            if is_dataclass(each):
                yield from (field.name for field in fields(each))


def error_rows() -> list[dict[str, str]]:
    with (SAMPLES / "error-codes.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def has_chinese(text: str) -> bool:
    return sum("\u4e00" <= char <= "\u9fff" for char in text) > len(text) / 10


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_has_text(path: Path, texts: Mapping[str, str]) -> None:
    assert len(texts[path.name]) > 300
    assert "\ufffd" not in texts[path.name]
    assert path.stat().st_size < 100_000


def test_formats_and_languages(texts: Mapping[str, str]) -> None:
    assert {path.suffix for path in PAGES} >= {
        *(".md", ".txt", ".html", ".csv", ".json"),
        *(".docx", ".xlsx", ".pptx", ".pdf", ".epub"),
    }
    chinese = {name for name, text in texts.items() if has_chinese(text)}
    assert chinese == {name for name in texts if name.startswith("zh-")}
    assert len(chinese) >= 10
    assert len(texts) - len(chinese) >= 15


async def test_pdf_has_pages() -> None:
    data = (SAMPLES / "gpu-memory-shares.pdf").read_bytes()
    extraction = await extract(data, "application/pdf", configuration(seconds=60, max_chars=1_000_000))
    assert [number for number, _ in extraction.pages] == [1, 2]


def test_settings_exist(texts: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
    used = {(page, name) for page, text in texts.items() for name in re.findall(r"TANDEM_[A-Z0-9_]+", text)}
    assert {each for each in used if each[1] not in known} == set()


def test_settings_reference_is_complete_and_right(texts: Mapping[str, str]) -> None:
    listed: dict[str, str] = {}
    for names, default in re.findall(
        r"^\| (`TANDEM_[^|]*) \| ([^|]*) \|", texts["settings-reference.md"], re.MULTILINE
    ):
        listed |= dict.fromkeys(re.findall(r"TANDEM_[A-Z0-9_]+", names), default)
    assert set(listed) == {PREFIX + name.upper() for name in Settings.model_fields}
    wrong = {}
    for name, field in Settings.model_fields.items():
        told = listed[PREFIX + name.upper()]
        if isinstance(field.default, bool | int | float | str) and told != str(field.default).lower():
            wrong[name] = (told, field.default)
    assert wrong == {}


def test_error_codes_are_those_of_the_code() -> None:
    told = {row["code"]: (row["HTTP status"], row["try again unchanged"]) for row in error_rows()}
    actual = {
        each.code: (
            str(app_errors.STATUS.get(each.code, "in a receipt or at the start")),
            "yes" if each.retryable else "no",
        )
        for each in error_classes()
    }
    assert told == actual
    assert all(row["meaning"] and row["what to do"] for row in error_rows())


async def test_names_exist(texts: Mapping[str, str]) -> None:
    """Codes, fields and metrics: whatever is written with underscores."""
    told = Metrics()
    told.watch(Gate())
    metrics = {sample.name for family in told.registry.collect() for sample in family.samples}
    metrics |= {family.name for family in told.registry.collect()}
    metrics |= {f"{name}_total" for name in metrics}
    known = {each.code for each in error_classes()} | set(field_names()) | metrics | OTHER_NAMES
    used = {
        (page, name)
        for page, text in texts.items()
        for name in re.findall(r"(?<![\w./-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w/])", text)
    }
    assert {each for each in used if each[1] not in known} == set()


def test_commands_and_options_exist(texts: Mapping[str, str]) -> None:
    root = get_command(cli.app)
    commands = getattr(root, "commands", {})
    problems = []
    for page, text in texts.items():
        for words in re.findall(r"(?<!in )\btandem ([a-z][^\n`]*)", text):
            name, *rest = (word.strip('".,') for word in words.split())
            command = commands.get(name)
            if command is not None and hasattr(command, "commands"):
                command = command.commands.get(rest[0] if rest else "")
            if command is None:
                problems.append((page, words))
                continue
            options = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
            problems += [(page, flag) for flag in re.findall(r"--[a-z-]+", words) if flag not in options]
    assert problems == []


def test_routes_exist(texts: Mapping[str, str]) -> None:
    known = set()
    for module_info in pkgutil.iter_modules(app.routes.__path__, "app.routes."):
        router = getattr(importlib.import_module(module_info.name), "router", None)
        for route in router.routes if router else ():
            known |= {(method, re.sub(r"\{[^}]*\}", "{}", route.path)) for method in route.methods}
    used = {
        (page, method, re.sub(r"\{[^}]*\}", "{}", path))
        for page, text in texts.items()
        for method, path in re.findall(r"\b(GET|POST|DELETE) (/[a-z0-9_/{}]*[a-z}])", text)
    }
    assert len(used) > 20
    assert {each for each in used if each[1:] not in known} == set()


def test_make_targets_exist(texts: Mapping[str, str]) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    words = r"^\s*(?:[A-Z_]+=\S* )*make ([a-z-]+)"
    used = {name for text in texts.values() for name in re.findall(words, text, re.MULTILINE)}
    assert used
    assert used <= targets
