"""Formats a plan of the device's memory for people (a table, in a terminal or in a message) and for programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from retrieval.device.engine_memory import EnginePlan
from retrieval.device.planner import DeviceMemory, Plan, gigabytes

_WIDTH = 120


def plan_table(plan: Plan) -> Table:
    """Returns a table with a row for each part of the memory and each limit, and a column for each engine. GB are 10^9
    bytes.
    """
    device = plan.device
    title = f"{escape(device.name) or 'Device'}: {gigabytes(device.total_bytes)} GB"
    if device.used_bytes:
        title += f", {gigabytes(device.used_bytes)} of them in use by others"
    if plan.tensor_parallel > 1:
        title += f"; one of {plan.tensor_parallel} that share each model"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False, pad_edge=False)
    table.title_justify = "left"
    table.add_column("GB", no_wrap=True)
    for engine in plan.engines:
        table.add_column(f"{engine.role}\n{escape(engine.model)}\n{engine.weight_format}", justify="right")
    for name, value in ROWS:
        table.add_row(name, *(value(engine) for engine in plan.engines), end_section=name == "together")
    return table


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One visible device, and the engines on it."""

    name: str
    memory: DeviceMemory
    engines: Sequence[EnginePlan] = ()
    """Each with what it takes of this device."""
    note: str = ""

    @property
    def planned_bytes(self) -> int:
        return sum(engine.total_bytes for engine in self.engines)


def device_table(rows: Sequence[DeviceRow]) -> Table:
    """Returns a table with a row for each device. GB are 10^9 bytes."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False, pad_edge=False)
    for name in ("Device", "Kind"):
        table.add_column(name)
    for name in ("GB", "in use", "planned"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Engines")
    for row in rows:
        memory, placed = row.memory, ", ".join(engine.role for engine in row.engines)
        figures = [gigabytes(each) for each in (memory.total_bytes, memory.used_bytes, row.planned_bytes)]
        told = "; ".join(each for each in (placed or "none", row.note) if each)
        table.add_row(escape(row.name), escape(memory.kind), *figures, escape(told))
    return table


def plan_text(plan: Plan, advice: Sequence[str], rows: Sequence[DeviceRow] = ()) -> str:
    """Returns the table, the verdict and the advice without colours, over several lines; the devices if there are
    several."""
    console = Console(file=StringIO(), width=_WIDTH, color_system=None)
    console.print(plan_table(plan))
    if len(rows) > 1:
        console.print("", device_table(rows), sep="\n")
    assert isinstance(console.file, StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    return "\n".join([verdict(plan, advice), "", *lines])


def verdict(plan: Plan, advice: Sequence[str]) -> str:
    return "\n- ".join([f"{plan.message} Instead, one of:", *advice]) if advice else plan.message


def plan_record(plan: Plan, advice: Sequence[str], rows: Sequence[DeviceRow] = ()) -> dict[str, object]:
    """Returns every figure, to compare with what a device shows. Bytes are of one device; `total_bytes` of an engine is
    what its process holds there.
    """
    return {
        "verdict": plan.verdict,
        "message": plan.message,
        "limits": list(plan.limits),
        "advice": list(advice),
        "device": {
            "name": plan.device.name,
            "total_bytes": plan.device.total_bytes,
            "used_bytes": plan.device.used_bytes,
            "usable_bytes": plan.device.usable_bytes,
            "count": plan.device.count,
        },
        "tensor_parallel": plan.tensor_parallel,
        "needed_bytes": plan.needed_bytes,
        "engines": [_engine_record(engine) for engine in plan.engines],
        "devices": [_device_record(row) for row in rows],
    }


def _device_record(row: DeviceRow) -> dict[str, object]:
    return {
        "name": row.name,
        "kind": row.memory.kind,
        "total_bytes": row.memory.total_bytes,
        "used_bytes": row.memory.used_bytes,
        "planned_bytes": row.planned_bytes,
        "engines": [engine.role for engine in row.engines],
        "note": row.note,
    }


def _engine_record(engine: EnginePlan) -> dict[str, object]:
    return {
        "role": engine.role,
        "model": engine.model,
        "weight_format": engine.weight_format,
        "bytes": {
            "weights": engine.weight_bytes,
            "kv_cache": engine.kv_cache_bytes,
            "activations": engine.activation_bytes,
            "graphs": engine.graph_bytes,
            "context": engine.context_bytes,
        },
        "total_bytes": engine.total_bytes,
        "gpu_memory_utilization": engine.share,
        "kv_cache_memory_bytes": engine.kv_cache_memory_bytes,
        "max_model_len": engine.max_model_len,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "cached_tokens": engine.cached_tokens,
        "full_inputs_at_once": engine.full_inputs_at_once,
        "passages_at_once": engine.passages_at_once,
    }


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f}"


ROWS: tuple[tuple[str, Callable[[EnginePlan], str]], ...] = (
    ("weights", lambda engine: _gb(engine.weight_bytes)),
    ("key-value cache", lambda engine: _gb(engine.kv_cache_bytes)),
    ("activations of a step", lambda engine: _gb(engine.activation_bytes)),
    ("captured graphs", lambda engine: _gb(engine.graph_bytes)),
    ("context, outside of the share", lambda engine: _gb(engine.context_bytes)),
    ("together", lambda engine: _gb(engine.total_bytes)),
    ("share of the device", lambda engine: f"{engine.share:.4g}"),
    ("longest input, tokens", lambda engine: f"{engine.max_model_len:,}"),
    ("tokens in a step", lambda engine: f"{engine.max_num_batched_tokens:,}"),
    ("tokens in the cache", lambda engine: f"{engine.cached_tokens:,}" if engine.cached_tokens else "-"),
    ("longest inputs at once", lambda engine: f"{engine.full_inputs_at_once:,}"),
    ("passages at once", lambda engine: f"{engine.passages_at_once:,}"),
)
"""Parts of the memory and limits of an engine, by name; memory is in GB of 10^9 bytes."""
