"""What one node makes of several devices: `python deploy/benchmarks/several_gpus --out FOLDER`.

Writes results.json and results.md to the folder after every part, so that a run that is cut off leaves what it found.
Weights are made up of the models' shapes: nothing is downloaded, and answers mean nothing. On a CPU, where groups of
engines stand for devices, it shows that the parts work, with `--shapes` of a folder whose config.json is small.

Parts, for each number in --devices:
  engines  the engines and gates without HTTP and stores: tokens a second embedded, and a rerank's time against its
           pool, on one device and spread over those that are idle
  load     the same engines: searches at rising rates, until they are saturated
  shares   the same engines: searches beside ingestion that is guaranteed each of --shares of the devices' time
  mixed    a node: searches alone, ingestion alone, both at once
  search   the highest rate of searches whose p99 stays below --p99
  split    each model of --split-shapes on one device, and, with more than one, split over them
With more than one device:
  faults   each of --faults: one device's engines killed, or one hung, under searches and ingestion, and an audit at
           the end
"""

import argparse
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[3]))

from app.cli.bench.node import dummy_settings
from deploy.benchmarks.several_gpus.engines import measure_engines
from deploy.benchmarks.several_gpus.run import BudgetSpent, Run, console
from deploy.benchmarks.several_gpus.scaling import scaling
from deploy.benchmarks.several_gpus.split import measure_split
from deploy.benchmarks.several_gpus.whole_node import FAULT_SECONDS, measure_node

Value = TypeVar("Value")

PARTS = ("engines", "load", "shares", "mixed", "search", "faults", "split")
OF_ENGINES, OF_NODE = PARTS[:3], PARTS[3:6]
USUAL = ("engines", *OF_NODE)


def measure(run: Run) -> None:
    asked = run.asked
    of_engines, of_node = ([part for part in each if part in asked.parts] for each in (OF_ENGINES, OF_NODE))
    if of_engines or of_node:
        with dummy_settings(asked.shapes, console) as dummies:
            for count in asked.devices:
                if of_engines:
                    run.part(f"all of engines {count}", 60, partial(measure_engines, run, count, of_engines, dummies))
                if of_node:
                    run.part(f"all of node {count}", 60, partial(measure_node, run, count, of_node, dummies))
        if len(asked.devices) > 1:
            scaling(run)
    if "split" in asked.parts:
        for shapes in asked.split_shapes:
            measure_split(run, shapes, max(asked.devices))
    run.write()


def listed(kind: Callable[[str], Value]) -> Callable[[str], list[Value]]:
    """Returns a parser of values separated by commas."""
    return lambda text: [kind(each) for each in text.split(",")]


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--devices", type=listed(int), default=[1, 2], help="how many, comma separated")
    parser.add_argument("--parts", type=listed(str), default=list(USUAL), help=",".join(PARTS))
    parser.add_argument("--shapes", default="qwen3-0.6b", help="of the weights: a pair's name, or a folder")
    parser.add_argument("--split-shapes", type=listed(str), default=["qwen3-8b"])
    parser.add_argument("--budget", type=float, default=540, help="seconds of the whole")
    parser.add_argument("--seconds", type=float, default=12, help="of one measurement")
    parser.add_argument("--warm-up", type=float, default=3, help="seconds before each")
    parser.add_argument("--rate", type=float, default=5, help="searches/s for each device, during ingestion")
    parser.add_argument("--split-rate", type=float, default=2, help="the same where models are split")
    parser.add_argument("--highest", type=float, default=32, help="searches/s for each device that it cannot do")
    parser.add_argument("--shares", type=listed(float), default=[0, 0.15, 0.3, 0.5, 0.7], help="of ingestion")
    parser.add_argument("--faults", type=listed(str), default=list(FAULT_SECONDS), help="kill,stop")
    parser.add_argument("--p99", type=float, default=150, help="ms")
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=256, help="of a text")
    parser.add_argument("--pool", type=int, default=2000, help="documents that are searched")
    parser.add_argument("--pools", type=listed(int), default=[10, 20, 50, 100, 200, 400], help="candidates of reranks")
    parser.add_argument("--repeats", type=int, default=20, help="reranks of each size")
    return parser


def main() -> int:
    asked = options().parse_args()
    for name, known in (("parts", PARTS), ("faults", tuple(FAULT_SECONDS))):
        if unknown := set(getattr(asked, name)) - set(known):
            raise SystemExit(f"--{name}: {', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    run = Run(asked)

    def end(*_: object) -> None:
        raise BudgetSpent(f"the budget of {asked.budget:g} s is spent")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(int(asked.budget) + 1)
    try:
        measure(run)
    except BudgetSpent as error:
        run.lines += ["", f"**{error}**"]
    finally:
        signal.alarm(0)
        run.write()
    return 1 if any(isinstance(each, dict) and "failed" in each for each in run.found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
