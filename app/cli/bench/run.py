"""The common part of the benchmarks: checks before, results after."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from app.cli.bench.engine_speeds import EngineLoad
from app.cli.bench.engines import measure_engines, show_engines
from app.cli.bench.ingest import by_round, measure_ingest, show_ingest
from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Load
from app.cli.bench.mixed import measure_mixed
from app.cli.bench.mixed_result import show_mixed
from app.cli.bench.node import MeasuredNode, NodeChoice, choose_corpus, describe_machine, dummy_settings, measured_node
from app.cli.bench.plot import draw
from app.cli.bench.search import latencies, measure_search, show_search
from app.cli.evaluate.evaluate import check_results
from app.cli.exit_codes import print_json
from app.cli.options import STDOUT
from app.settings import Settings, load_settings
from retrieval.device.detect import find_device
from retrieval.errors import InvalidRequest

SHARE_OF_ALL = 0.84
"""Share of a GPU's memory for all engines together, if a bare one runs in addition to a node's own."""
_OF_THIS_RUN = frozenset({"data_dir", "models_dir", "host", "port", "api_keys"})


class Output:
    """Where results are written in addition to the console."""

    def __init__(self, json_file: Path | None, plot: Path | None) -> None:
        """Raises InvalidRequest: errors are found before minutes of work, not after them."""
        check_results(json_file, plot)
        self._json = json_file
        self._plot = plot

    def write(
        self, command: str, node: MeasuredNode, corpus: Corpus, parameters: Mapping[str, object], result: Any
    ) -> None:
        parameters = {**parameters, "corpus": {"name": corpus.name, **corpus.spec()}}
        self.save(command, parameters, node.settings, {"node": node.describe(), **result.to_json()})

    def save(
        self, command: str, parameters: Mapping[str, object], settings: Settings | None, found: Mapping[str, object]
    ) -> None:
        if self._json is None:
            return
        record = {
            "command": command,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "asked": parameters,
            "machine": describe_machine(),
            "settings": _changed(settings),
            **found,
        }
        if self._json == STDOUT:
            print_json(record)
        else:
            self._json.write_text(json.dumps(record, indent=1))

    def draw(
        self,
        title: str,
        latencies: Mapping[str, Sequence[float]],
        rates: Mapping[str, Sequence[tuple[float, float]]],
    ) -> None:
        if self._plot:
            draw(latencies, rates, title, self._plot)


def bench_mixed(
    choice: NodeChoice,
    load: Load,
    *,
    data: Path | None,
    tokens: int,
    pool: int,
    rounds: int,
    output: Output,
    console: Console,
) -> None:
    with measured_node(choice, console) as node:
        corpus = choose_corpus(data, tokens, node)
        pool = _pool(corpus, pool, load)
        mixed = measure_mixed(node, corpus, load, pool=pool, rounds=rounds, console=console)
        show_mixed(mixed, load, console)
        output.write("mixed", node, corpus, {**asdict(load), "pool": pool, "rounds": rounds}, mixed)
        output.draw(_title(node, load), mixed.latencies, mixed.per_second)


def bench_search(
    choice: NodeChoice,
    load: Load,
    *,
    data: Path | None,
    tokens: int,
    pool: int,
    one_by_one: int,
    output: Output,
    console: Console,
) -> None:
    with measured_node(choice, console) as node:
        corpus = choose_corpus(data, tokens, node)
        pool = _pool(corpus, pool, load)
        found = measure_search(node, corpus, load, pool=pool, one_by_one=one_by_one, console=console)
        show_search(found, load, console)
        output.write("search", node, corpus, {**asdict(load), "pool": pool, "one_by_one": one_by_one}, found)
        output.draw(_title(node, load), latencies(found), {})


def bench_ingest(
    choice: NodeChoice,
    *,
    data: Path | None,
    texts: int,
    tokens: int,
    rounds: int,
    bare: bool,
    langchain: bool,
    output: Output,
    console: Console,
) -> None:
    bare = bare and choice.url is None
    if langchain and choice.dummy_weights:
        raise InvalidRequest("--langchain requires models with weights: omit --dummy-weights.")
    with measured_node(choice, console, **(_room_for_one_more() if bare else {})) as node:
        corpus = choose_corpus(data, tokens, node)
        texts = corpus.size or texts
        found = measure_ingest(
            node, corpus, texts=texts, rounds=rounds, bare=bare, langchain=langchain, console=console
        )
        show_ingest(found, corpus, console)
        output.write("ingest", node, corpus, {"texts": texts, "rounds": rounds}, found)
        output.draw(f"{texts:,} texts, {node.describe()['models']['embed']}", {}, by_round(found))


def bench_engines(load: EngineLoad, *, dummy_weights: str | None, bare: bool, output: Output, console: Console) -> None:
    with dummy_settings(dummy_weights, console) as overrides:
        settings = load_settings(**overrides)
        found = measure_engines(settings, load, bare=bare, console=console)
    show_engines(found, load, console)
    output.save("engines", asdict(load), settings, found.to_json())


def _room_for_one_more() -> dict[str, object]:
    """Returns settings of a node that leave GPU memory for the bare engine; settings of the environment win."""
    settings = load_settings()
    if find_device() == "cpu":
        return {}
    engines = settings.embed_replicas + bool(settings.query_engine) + 1
    names = ("embed_memory_share", "rerank_memory_share")
    return {name: round(SHARE_OF_ALL / (engines + 1), 2) for name in names if getattr(settings, name) is None}


def _pool(corpus: Corpus, pool: int, load: Load) -> int:
    """Returns the number of documents to search: all of a folder. Raises InvalidRequest if they are fewer than the
    candidates.
    """
    documents = corpus.size or pool
    if documents < load.candidates:
        raise InvalidRequest(
            f"{documents} documents are fewer than {load.candidates} candidates: lower --candidates, or raise --pool."
        )
    return documents


def _changed(settings: Settings | None) -> Mapping[str, Any] | None:
    """Returns the settings that differ from the defaults, without secrets and folders of this run."""
    if settings is None:
        return None
    values = settings.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in values.items() if name not in _OF_THIS_RUN}


def _title(node: MeasuredNode, load: Load) -> str:
    models = node.describe()["models"]
    names = " and ".join(Path(models[kind]).name for kind in ("embed", "rerank"))
    return f"{load.rate:g} searches a second, {load.candidates} candidates reranked\n{names}"
