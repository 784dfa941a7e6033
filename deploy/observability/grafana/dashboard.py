"""Writes dashboard.json, Grafana's dashboard, from the panels named here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dashboard.json")
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
NODES = 'job=~"$job", instance=~"$instance"'
WIDTH, HEIGHT, COLUMNS = 8, 8, 24


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: str
    """As Grafana names units."""
    queries: dict[str, str]
    """PromQL by legend. `@` stands for the labels that choose nodes."""
    about: str = ""


def rate(metric: str, by: str = "", where: str = "") -> str:
    labels = f"@, {where}" if where else "@"
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, where)})"


ROWS: dict[str, list[Panel]] = {
    "Node": [
        Panel("Ready", "none", {"{{instance}}": "tandem_ready{@}"}, "1 while searches and ingestion work"),
        Panel("Failing components", "none", {"{{instance}} {{component}}": "tandem_component_failing{@}"}),
        Panel("Requests", "reqps", {"{{route}} {{status}}": rate("tandem_http_requests_total", "route, status")}),
        Panel("Requests by API key", "reqps", {"{{key}}": rate("tandem_key_requests_total", "key")}),
        Panel("Time to answer, p95", "s", {"{{route}}": quantile(0.95, "tandem_http_request_seconds", "route")}),
        Panel(
            "Open",
            "short",
            {
                "requests": "sum(tandem_http_requests_in_flight{@})",
                "connections": "sum(tandem_http_connections{@})",
                "event streams": "sum(tandem_http_streams{@})",
            },
        ),
        Panel(
            "Process",
            "none",
            {
                "{{instance}} processor cores": "rate(process_cpu_seconds_total{@}[$__rate_interval])",
                "{{instance}} part of file descriptors": "process_open_fds{@} / process_max_fds{@}",
            },
            "Of the node itself; engines, parsers and Milvus Lite are processes of their own",
        ),
        Panel(
            "Delay of the event loop",
            "s",
            {
                "p50": quantile(0.5, "tandem_event_loop_delay_seconds"),
                "p95": quantile(0.95, "tandem_event_loop_delay_seconds"),
            },
            "Each of some ten steps of a search waits this long: more than a few milliseconds slow down searches",
        ),
    ],
    "Search": [
        Panel("Searches", "reqps", {"searches": rate("tandem_search_stage_seconds_count", where='stage="total"')}),
        Panel(
            "Time of a search",
            "s",
            {
                f"p{round(100 * share)}": quantile(share, "tandem_search_stage_seconds", where='stage="total"')
                for share in (0.5, 0.95, 0.99)
            },
        ),
        Panel("Time by stage, p95", "s", {"{{stage}}": quantile(0.95, "tandem_search_stage_seconds", "stage")}),
        Panel("Without reranking", "reqps", {"{{reason}}": rate("tandem_search_unranked_total", "reason")}),
        Panel(
            "Work under way, part of its bound",
            "percentunit",
            {"{{instance}} {{unit}}": "tandem_work_in_flight{@} / tandem_work_bound{@}"},
            "At 1 further requests are answered with 429",
        ),
        Panel("Candidates reranked", "ops", {"candidates": rate("tandem_search_candidates_total")}),
    ],
    "Ingestion": [
        Panel(
            "Queue",
            "short",
            {
                "waiting or in work": "max(tandem_ingest_queue_documents{@})",
                "in work": "max(tandem_ingest_processing_documents{@})",
            },
            "Nodes on one database all report the same queue",
        ),
        Panel("Longest wait", "s", {"oldest document": "max(tandem_ingest_queue_oldest_seconds{@})"}),
        Panel("Documents", "short", {"{{state}}": "max by (state) (tandem_documents{@})"}),
        Panel(
            "Attempts that ended",
            "ops",
            {"{{outcome}} {{code}}": rate("tandem_ingest_outcomes_total", "outcome, code")},
            "Of nodes with their worker processes, and of scraped workers; `retried` are tried again",
        ),
        Panel(
            "Accepted to searchable",
            "s",
            {f"p{round(100 * share)}": quantile(share, "tandem_ingest_document_seconds") for share in (0.5, 0.95)},
        ),
        Panel(
            "Chunks and tokens",
            "ops",
            {
                "chunks, vectors {{vectors}}": rate("tandem_ingest_chunks_total", "vectors"),
                "tokens": rate("tandem_ingest_tokens_total"),
            },
            "Reused: the version before held the same chunk",
        ),
        Panel(
            "Parser",
            "s",
            {
                "p50": quantile(0.5, "tandem_parser_call_seconds"),
                "p95": quantile(0.95, "tandem_parser_call_seconds"),
            },
        ),
        Panel("Parser calls", "ops", {"{{outcome}}": rate("tandem_parser_calls_total", "outcome")}),
    ],
    "Engines": [
        Panel("Tokens", "ops", {"{{model}} {{lane}}": rate("tandem_engine_tokens_total", "model, lane")}),
        Panel(
            "Calls",
            "ops",
            {"{{model}} {{lane}} {{outcome}}": rate("tandem_engine_calls_total", "model, lane, outcome")},
        ),
        Panel(
            "Time of a call, p95",
            "s",
            {"{{model}} {{lane}}": quantile(0.95, "tandem_engine_call_seconds", "model, lane")},
            "Includes the wait for the gate",
        ),
        Panel(
            "Texts in a call",
            "short",
            {
                "{{model}} {{lane}}": f"{rate('tandem_engine_texts_total', 'model, lane')} / "
                f"sum by (model, lane) (rate(tandem_engine_call_seconds_count{{@}}[$__rate_interval]))"
            },
        ),
        Panel(
            "Texts whose tokens were remembered",
            "percentunit",
            {
                "{{model}}": rate("tandem_token_cache_lookups_total", "model", 'result="hit"')
                + f" / {rate('tandem_token_cache_lookups_total', 'model')}"
            },
        ),
        Panel("Tokens cut", "ops", {"{{model}} {{lane}}": rate("tandem_engine_truncated_tokens_total", "model, lane")}),
        Panel(
            "Gate",
            "short",
            {
                "{{instance}} {{device}} searches computing": "tandem_gate_interactive_calls{@}",
                "{{instance}} {{device}} slices of ingestion": "tandem_gate_bulk_slices{@}",
                "{{instance}} {{device}} calls of ingestion waiting": "tandem_gate_bulk_waiting_calls{@}",
            },
        ),
        Panel(
            "Tokens of ingestion",
            "short",
            {
                "{{instance}} {{device}} in flight": "tandem_gate_bulk_tokens{@}",
                "{{instance}} {{device}} bound": "tandem_gate_bulk_bound_tokens{@}",
            },
        ),
        Panel(
            "Batches of ingestion",
            "short",
            {
                "batches a second": rate("tandem_gate_bulk_batches_total"),
                "of them amid searches": rate("tandem_gate_slices_amid_searches_total"),
                "{{instance}} {{device}} measured tokens a second": "tandem_gate_bulk_tokens_per_second{@}",
                "tokens batched a second": rate("tandem_gate_bulk_batched_tokens_total"),
            },
        ),
        Panel(
            "Ingestion waits for the gate",
            "s",
            {
                "{{device}} p50": quantile(0.5, "tandem_gate_bulk_wait_seconds", "device"),
                "{{device}} p95": quantile(0.95, "tandem_gate_bulk_wait_seconds", "device"),
            },
            "Until a slice has its turn",
        ),
        Panel(
            "Searches share the device",
            "s",
            {
                "{{device}} p50": quantile(0.5, "tandem_gate_interactive_shared_seconds", "device"),
                "{{device}} p95": quantile(0.95, "tandem_gate_interactive_shared_seconds", "device"),
                "{{instance}} {{device}} typical call": "tandem_gate_interactive_seconds{@}",
            },
            "A search never waits for the gate: the part of a call in which ingestion computed beside it",
        ),
    ],
    "Stores": [
        Panel(
            "Vector store, calls",
            "ops",
            {"{{operation}} {{outcome}}": rate("tandem_store_calls_total", "operation, outcome")},
        ),
        Panel("Vector store, p95", "s", {"{{operation}}": quantile(0.95, "tandem_store_call_seconds", "operation")}),
        Panel(
            "Originals, calls",
            "ops",
            {"{{operation}} {{outcome}}": rate("tandem_blobs_calls_total", "operation, outcome")},
        ),
        Panel("Originals, p95", "s", {"{{operation}}": quantile(0.95, "tandem_blobs_call_seconds", "operation")}),
    ],
    "Device": [
        Panel("Utilisation", "percentunit", {"{{instance}} {{device}} {{name}}": "tandem_device_utilization_ratio{@}"}),
        Panel(
            "Memory",
            "percentunit",
            {
                "{{instance}} {{device}} {{name}}": "tandem_device_memory_used_bytes{@} "
                "/ tandem_device_memory_total_bytes{@}"
            },
        ),
        Panel("Engines serve", "none", {"{{instance}} {{device}}": "tandem_device_up{@}"}, "1 while all of them do"),
        Panel("Engines restarted", "ops", {"{{device}}": rate("tandem_device_engine_restarts_total", "device")}),
        Panel("Temperature", "celsius", {"{{instance}} {{device}} {{name}}": "tandem_device_temperature_celsius{@}"}),
        Panel("Power", "watt", {"{{instance}} {{device}} {{name}}": "tandem_device_power_watts{@}"}),
    ],
}


def variable(name: str, label: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": f"label_values(tandem_ready, {label})",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row, members in ROWS.items():
        panels.append({"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "panels": []})
        panels[-1]["gridPos"] = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        y += 1
        for place, panel in enumerate(members):
            line, column = divmod(place, COLUMNS // WIDTH)
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": panel.title,
                    "description": panel.about,
                    "datasource": DATASOURCE,
                    "gridPos": {"x": column * WIDTH, "y": y + line * HEIGHT, "w": WIDTH, "h": HEIGHT},
                    "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                    "options": {
                        "legend": {"displayMode": "list", "placement": "bottom"},
                        "tooltip": {"mode": "multi", "sort": "desc"},
                    },
                    "targets": [
                        {
                            "refId": chr(ord("A") + number),
                            "datasource": DATASOURCE,
                            "expr": query.replace("@", NODES),
                            "legendFormat": legend,
                        }
                        for number, (legend, query) in enumerate(panel.queries.items())
                    ],
                }
            )
        y += -(-len(members) // (COLUMNS // WIDTH)) * HEIGHT
    return {
        "uid": "tandem",
        "title": "Tandem",
        "tags": ["tandem"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                variable("job", "job"),
                variable("instance", "instance"),
            ]
        },
        "panels": panels,
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
