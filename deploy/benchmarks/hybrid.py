"""Measures what weights the branches of hybrid recall deserve, and what variants of queries add.

    python deploy/benchmarks/hybrid.py FOLDER... [--queries FILE] [--rerank chosen] [--json FILE]

FOLDER is a judged collection as `tandem eval` takes it. Starts a node with the settings of the environment. Prints
nDCG@10 of hybrid recall with several weights of words beside the weight 1 of vectors, with the weights that the service
chooses, and with variants; and of the last two with reranking, which takes most of the time: `--rerank chosen` reranks
without variants only, `--rerank none` nothing.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from app.cli.client.node_client import Client
from app.cli.evaluate.evaluate import ingest, own_node, scratch, search
from retrieval.evaluation.datasets import Dataset, load_dataset
from retrieval.evaluation.significance import randomisation_p
from retrieval.evaluation.variants import machine_made

MEASURE = "nDCG@10"
WORDS = (0.0, 0.25, 0.5, 1.0)
"""Weights of words that are the same for every query."""
POOL = 50


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    pool: int | None = None
    variants: bool = False
    fusion: Mapping[str, Any] = field(default_factory=dict)


CHOSEN, CHOSEN_RERANKED = Setting("chosen weights"), Setting("chosen weights, reranked", POOL)
WITH_VARIANTS = Setting("with variants", variants=True)
WITH_VARIANTS_RERANKED = Setting("with variants, reranked", POOL, variants=True)
SETTINGS = (
    *(Setting(f"words {weight:g}", fusion={"weights": {"dense": 1.0, "sparse": weight}}) for weight in WORDS),
    CHOSEN,
    WITH_VARIANTS,
)
RERANKED: Mapping[str, Sequence[Setting]] = {
    "none": (),
    "chosen": (CHOSEN_RERANKED,),
    "all": (CHOSEN_RERANKED, WITH_VARIANTS_RERANKED),
}
COMPARED = ((CHOSEN, WITH_VARIANTS), (CHOSEN_RERANKED, WITH_VARIANTS_RERANKED))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--queries", help="file of queries in each folder")
    parser.add_argument("--rerank", choices=RERANKED, default="all", help="what is reranked")
    parser.add_argument("--json", type=Path, help="file for the measure of every query")
    arguments = parser.parse_args()
    console = Console()
    found: dict[str, dict[str, dict[str, float]]] = {}
    settings = (*SETTINGS, *RERANKED[arguments.rerank])
    with own_node(console) as (client, _):
        for folder in arguments.folders:
            dataset = load_dataset(folder, queries=arguments.queries)
            with scratch(client, dataset) as collection:
                seconds = ingest(client, collection["name"], dataset, console)
                console.print(f"{dataset.name}: {len(dataset.queries)} queries, ingested in {seconds:.0f} s")
                found[dataset.name] = _measure(client, collection["name"], dataset, settings, console)
            if arguments.json:
                arguments.json.write_text(json.dumps(found, indent=1))


def _measure(
    client: Client, name: str, dataset: Dataset, settings: Sequence[Setting], console: Console
) -> dict[str, dict[str, float]]:
    made = machine_made(dataset)
    values: dict[str, dict[str, float]] = {}
    for setting in settings:
        row, _ = search(
            client,
            name,
            dataset,
            console,
            mode="hybrid",
            pool=setting.pool,
            variants=made if setting.variants else {},
            fusion=setting.fusion or None,
        )
        values[setting.name] = row.values(MEASURE)
        times = row.latency_ms["client"]
        console.print(f"{setting.name:24} {row.measures[MEASURE]:.4f}  {times.median:.0f}/{times.p95:.0f} ms")
    for without, with_ in COMPARED:
        if with_.name not in values:
            continue
        changes = [values[with_.name][query] - value for query, value in values[without.name].items()]
        console.print(f"{with_.name}: {sum(changes) / len(changes):+.4f}, p {randomisation_p(changes):.3f}")
    return values


if __name__ == "__main__":
    main()
