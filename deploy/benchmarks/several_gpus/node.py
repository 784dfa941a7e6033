"""A node of its own for one part of a run, and the collection that is searched there."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from time import monotonic

from app.cli.bench.load.corpus import Corpus
from app.cli.bench.load.searching import Load, Question
from app.cli.bench.node import MeasuredNode, choose_corpus
from app.cli.node.spawn import running_node
from app.settings import PREFIX, load_settings
from deploy.benchmarks.several_gpus.run import Run, console

LOG_BYTES = 400_000


@contextmanager
def node_of(run: Run, name: str, **overrides: object) -> Iterator[tuple[MeasuredNode, float]]:
    """A node of its own with `overrides` as settings, and the seconds that it took to be ready. The end of its log goes
    to the folder of the results."""
    with TemporaryDirectory(prefix="tandem-gpus-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        changed = {
            **overrides,
            "data_dir": Path(folder),
            "host": "127.0.0.1",
            "port": port,
            "api_keys": token_urlsafe(32),
            "log_level": "info",
        }
        settings = load_settings(**changed)
        environment = {f"{PREFIX}{key.upper()}": str(value) for key, value in changed.items()}
        began, last = monotonic(), ""

        def report(step: str) -> None:
            nonlocal last
            if step != last:
                last = step
                console.print(f"  {monotonic() - began:5.1f} s {step[:300]}", markup=False)

        try:
            with running_node(settings, environment, on_step=report) as client:
                took = monotonic() - began
                console.print(f"  {name}: ready after {took:.0f} s", markup=False)
                yield MeasuredNode(client, settings.api_keys[0].get_secret_value(), settings), took
        finally:
            log = Path(folder) / "node.log"
            if log.exists():
                (run.asked.out / f"{name}.log").write_bytes(log.read_bytes()[-LOG_BYTES:])


def load_of(run: Run, rate: float, seconds: float) -> Load:
    return Load(rate, seconds, run.asked.warm_up, "poisson", run.asked.candidates, top_k=10)


def corpus_and_question(run: Run, node: MeasuredNode) -> tuple[Corpus, Question]:
    """The texts, and a collection of --pool of them to search."""
    corpus = choose_corpus(None, run.asked.tokens, node)
    name = node.new_collection(corpus)
    node.fill(name, corpus, run.asked.pool)
    return corpus, Question(name, run.asked.candidates, 10)
