"""The documentation in deploy/docs and the samples in deploy/samples: every page can be read, names only what exists,
and exists in both languages."""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getmembers, isclass
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import APIRouter
from pydantic import BaseModel
from typer.main import get_command

import app.http
import ingestion.errors
import ingestion.pipeline.pipeline
import ingestion.types
import retrieval.errors
import retrieval.types
from app import errors as app_errors
from app.cli import main as cli
from app.settings import INTERNAL, PREFIX, Settings
from app.telemetry.metrics import Metrics
from ingestion.intake.expansion import PART_OF
from ingestion.parsers.detect import detect
from ingestion.parsers.pages.ocr_state import OcrLimits
from ingestion.parsers.pages.reader import PageReader
from ingestion.parsers.registry import ReadOptions, readers
from ingestion.parsers.xberg import configuration
from retrieval.device.devices import Device, Devices
from retrieval.device.gate import Gate
from retrieval.errors import TandemError
from retrieval.filters.tree import TEXT_OPERATORS
from tests.support.docs.twins import commands, sections

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "deploy" / "samples"
DOCS = ROOT / "deploy" / "docs"
FILES = sorted(SAMPLES.iterdir())
PAGES = sorted(DOCS.glob("*/*.md"))
GENERATOR = ROOT / "deploy" / "configuration" / "generate.py"

CLIENT_VARIABLES = {"TANDEM_URL", "TANDEM_API_KEY", "TANDEM_TOKEN"}
"""Read by the command line and the client; the node has no such settings."""
OTHER_NAMES = {
    *("not_requested", "model_language", "no_candidates"),  # reasons of an answer without reranking
    *("cacm_en", "cmrc_dev_zh", "xquad_zh2en", "xquad_en2zh", "squad_dev_en"),  # judged collections
    *("x86_64", "torch_npu", "local_dir", "avx512_bf16", "classifier_from_token", "is_original_qwen3_reranker"),
    *("infinity_emb", "no_new_privs", "document_text", "document_chunks"),
    "realm_access",  # of Keycloak's tokens
    *("trace_id", "span_id", "pg_dump", "tandem_models"),  # of the log, of PostgreSQL, and a volume of compose
}
"""Words with an underscore that are no code, no field and no metric of ours."""
OTHER_PRODUCTS = ("ascend", "dify", "jupyter", "mcp", "n8n", "open-webui", "openai-and-rerank")
"""Pages full of their names; tests of their own send what stands there."""


@pytest_asyncio.fixture(scope="module")
async def samples() -> Mapping[str, str]:
    """Text of every sample by file name, as the parser's child process would read it."""
    by_type = readers(configuration(seconds=60, max_chars=1_000_000), PageReader(None, OcrLimits()))
    found = {}
    for path in FILES:
        data = path.read_bytes()
        found[path.name] = (await by_type[detect(data, filename=path.name)](data, ReadOptions())).text
    return found


@pytest.fixture(scope="module")
def texts(samples: Mapping[str, str]) -> Mapping[str, str]:
    """The samples and the pages, whose names begin with their language."""
    pages = {str(path.relative_to(DOCS)): path.read_text(encoding="utf-8") for path in PAGES}
    return {**samples, **pages}


def error_classes() -> set[type[TandemError]]:
    """Those that a request, a receipt or the start can end with, whatever else the test run has imported."""
    modules = {
        module.__name__ for module in (retrieval.errors, ingestion.errors, ingestion.pipeline.pipeline, app_errors)
    }
    found = {TandemError}
    waiting = [TandemError]
    while waiting:
        children = waiting.pop().__subclasses__()
        found.update(children)
        waiting.extend(children)
    return {each for each in found if each.__module__ in modules}


def field_names() -> Iterator[str]:
    """Fields of the wire and of the types behind it."""
    for module_info in pkgutil.walk_packages(app.http.__path__, "app.http."):
        for _, model in getmembers(importlib.import_module(module_info.name), isclass):
            if issubclass(model, BaseModel):
                yield from model.model_fields
    for module in (retrieval.types, ingestion.types):
        for _, each in getmembers(module, isclass):
            if is_dataclass(each):
                yield from (field.name for field in fields(each))


def error_rows(language: str) -> Iterator[tuple[str, str, str]]:
    """Code, status and whether a retry may succeed."""
    page = (DOCS / language / "errors.md").read_text(encoding="utf-8")
    yield from re.findall(r"^\| `(\w+)` \| (\d*) \| (\S+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)


def has_chinese(text: str) -> bool:
    words = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return sum("\u4e00" <= char <= "\u9fff" for char in words) > len(words) / 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_sample_has_text(path: Path, samples: Mapping[str, str]) -> None:
    assert len(samples[path.name]) > 300
    assert "\ufffd" not in samples[path.name]
    assert path.stat().st_size < 100_000


def test_samples_are_of_several_formats_and_both_languages(samples: Mapping[str, str]) -> None:
    assert {path.suffix for path in FILES} >= {
        *(".txt", ".html", ".csv", ".json"),
        *(".docx", ".xlsx", ".pptx", ".pdf", ".epub"),
    }
    chinese = {name for name, text in samples.items() if has_chinese(text)}
    assert chinese == {name for name in samples if name.startswith("zh-")}
    assert len(chinese) >= 5
    assert len(samples) - len(chinese) >= 5


def test_every_page_exists_in_both_languages_and_links_to_the_other() -> None:
    english, chinese = ({path.name for path in PAGES if path.parent.name == language} for language in ("en", "zh"))
    assert english == chinese
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        other = "zh" if path.parent.name == "en" else "en"
        assert f"](../{other}/{path.name})" in text[:200], path
        assert has_chinese(text) == (path.parent.name == "zh"), path


@pytest.mark.parametrize("name", sorted({path.name for path in PAGES}))
def test_translations_have_the_same_commands_sections_tables_and_settings(name: str) -> None:
    english, chinese = ((DOCS / language / name).read_text(encoding="utf-8") for language in ("en", "zh"))
    assert commands(english) == commands(chinese)
    pairs = list(zip(sections(english), sections(chinese), strict=True))
    assert [(one.level, one.rows) for one, _ in pairs] == [(other.level, other.rows) for _, other in pairs]
    settings = [sorted(set(re.findall(r"TANDEM_[A-Z0-9_]+", text))) for text in (english, chinese)]
    assert settings[0] == settings[1]


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md", ROOT / "README.zh-CN.md"], ids=str)
def test_links_lead_to_files_that_exist(path: Path) -> None:
    # What a terminal shows may look like a link.
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert [link for link in links if link and "://" not in link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_index_names_every_page(language: str) -> None:
    index = (DOCS / language / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in PAGES} - {"README.md"} <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def test_the_configuration_pages_are_those_that_the_generator_writes() -> None:
    spec = spec_from_file_location("generate", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    generate = module_from_spec(spec)
    spec.loader.exec_module(generate)
    named = [name for names in generate.SECTIONS.values() for name in names]
    assert sorted(named) == sorted(Settings.model_fields.keys() - INTERNAL), (
        "each setting belongs to one section of en.toml"
    )
    for path, (words, link) in generate.PAGES.items():
        assert path.read_text(encoding="utf-8") == generate.page(words, link), "run deploy/configuration/generate.py"


async def test_pdf_has_pages() -> None:
    data = (SAMPLES / "gpu-memory-shares.pdf").read_bytes()
    extraction = PageReader(None, OcrLimits()).read_pdf(data, "never", "off")
    assert [number for number, _ in extraction.pages] == [1, 2]


def test_settings_exist(texts: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
    used = {(page, name) for page, text in texts.items() for name in re.findall(r"TANDEM_[A-Z0-9_]+", text)}
    assert {each for each in used if each[1] not in known} == set()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_error_codes_are_those_of_the_code(language: str) -> None:
    retry = {"en": {True: "yes", False: "no"}, "zh": {True: "是", False: "否"}}[language]
    actual = {each.code: (str(app_errors.STATUS.get(each.code, "")), retry[each.retryable]) for each in error_classes()}
    assert {code: (status, again) for code, status, again in error_rows(language)} == actual


async def test_names_exist(texts: Mapping[str, str]) -> None:
    """Codes, fields and metrics: whatever is written with underscores."""
    told = Metrics()
    told.watch(Devices([Device("0", Gate())]))
    metrics = {sample.name for family in told.registry.collect() for sample in family.samples}
    metrics |= {family.name for family in told.registry.collect()}
    metrics |= {f"{name}_total" for name in metrics}
    known = {each.code for each in error_classes()} | set(field_names()) | metrics | set(TEXT_OPERATORS)
    known |= OTHER_NAMES | {PART_OF}
    used = {
        (page, name)
        for page, text in texts.items()
        if Path(page).stem not in OTHER_PRODUCTS
        for name in re.findall(r"(?<![\w./-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?![\w/])", text)
    }
    assert {each for each in used if each[1] not in known} == set()


def test_commands_and_options_exist(texts: Mapping[str, str]) -> None:
    root = get_command(cli.app)
    commands = getattr(root, "commands", {})
    problems = []
    for page, text in texts.items():
        for words in re.findall(r"(?<!in )(?<!-it )\btandem ([a-z][^\n`]*)", text):
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
    for module_info in pkgutil.walk_packages(app.http.__path__, "app.http."):
        for router in vars(importlib.import_module(module_info.name)).values():
            for route in router.routes if isinstance(router, APIRouter) else ():
                known |= {(method, re.sub(r"\{[^}]*\}", "{}", route.path)) for method in route.methods}
    used = {
        (page, method, re.sub(r"\{[^}]*\}", "{}", path))
        for page, text in texts.items()
        for method, path in re.findall(r"\b(GET|POST|DELETE) (/[a-z0-9_/{}-]*[a-z}])", text)
    }
    assert len(used) > 20
    assert {each for each in used if each[1:] not in known} == set()


def test_make_targets_exist(texts: Mapping[str, str]) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    words = r"^\s*(?:[A-Z_]+=\S* )*make ([a-z-]+)"
    used = {name for text in texts.values() for name in re.findall(words, text, re.MULTILINE)}
    assert used
    assert used <= targets
