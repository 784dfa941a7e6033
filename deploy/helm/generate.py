"""Writes what follows from the chart and from app/settings.py: run it after either was changed (`make manifests`).

    python deploy/helm/generate.py

- tandem/README.md: a table of the values, from the comments in values.yaml
- tandem/values.schema.json: the names of settings and secrets
- ../kubernetes/*.yaml: the chart rendered for some of the value sets in tandem/ci, for those without Helm

A test compares the files with what this writes.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

HERE = Path(__file__).parent
CHART = HERE / "tandem"
MANIFESTS = HERE.parent / "kubernetes"
sys.path.insert(0, str(HERE.parents[1]))

from app.settings import INTERNAL, PREFIX, Settings  # noqa: E402  # the path first

FIXED = frozenset({"host", "port", "data_dir", "models_dir", "engine", "node_url"})
"""Settings that the chart itself decides."""
SECRETS = tuple(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))
SECRET_URLS = ("milvus_uri",)
"""May be in the Secret, and among the settings where they hold no password."""
PLAIN = ("one-gpu", "ascend", "cluster")
"""Value sets whose manifests are kept."""


def values(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def manifests(chart: Chart, given: Mapping[str, Any], *, release: str = "tandem") -> str:
    """All documents, in the order in which they are applied."""
    rendered = chart.render(values=dict(given), name=release, namespace="default")
    texts = [rendered[name] for name in sorted(rendered) if name.endswith(".yaml")]
    documents = [part.strip("\n") for text in texts for part in re.split(r"^---$", text, flags=re.MULTILINE)]
    filled = [each for each in documents if any(line and line[0] != "#" for line in each.splitlines())]
    return "---\n" + "\n---\n".join(filled) + "\n"


def plain(chart: Chart, name: str) -> str:
    text = manifests(chart, values(name))
    # Without Helm nobody runs hooks: the Job of the migration is applied with the rest.
    text = re.sub(r"^  annotations:\n(    helm\.sh/hook.*\n)+", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ +helm\.sh/chart: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ +app\.kubernetes\.io/managed-by: .*\n", "", text, flags=re.MULTILINE)
    return f"# Made from deploy/helm/tandem/ci/{name}.yaml by deploy/helm/generate.py; not edited by hand.\n{text}"


def schema() -> str:
    path = CHART / "values.schema.json"
    settings = sorted(name.upper() for name in Settings.model_fields.keys() - INTERNAL - FIXED - set(SECRETS))
    secrets = sorted(PREFIX + name.upper() for name in (*SECRETS, *SECRET_URLS))
    enums = {"settings": settings, "secretKeys": secrets}
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        changed = re.sub(
            r'("propertyNames": \{"enum": )\[[^]]*\]', lambda match: match[1] + json.dumps(enums["settings"]), line
        )
        if '"secretKeys"' in changed:
            changed = re.sub(r'("enum": )\[[^]]*\]', lambda match: match[1] + json.dumps(enums["secretKeys"]), changed)
        lines.append(changed)
    return "\n".join(lines) + "\n"


def rows() -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of every value that has a comment."""
    comment: list[str] = []
    path: list[str] = []
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if not line.strip():
            comment = []
        elif line.lstrip().startswith("#"):
            comment.append(line.lstrip()[1:].strip())
        else:
            key, _, default = line.strip().partition(":")
            depth = (len(line) - len(line.lstrip())) // 2
            path = [*path[:depth], key]
            nested = "\n".join(following_lines(lines, number, depth))
            if comment:
                # What has comments of its own is shown in rows of its own.
                shown = default.strip() or ("" if "#" in nested else json.dumps(yaml.safe_load(nested)))
                yield ".".join(path), shown and f"`{shown}`", " ".join(comment)
            comment = []


def following_lines(lines: list[str], number: int, depth: int) -> Iterator[str]:
    """Those that belong to the key on line `number`."""
    for line in lines[number + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth * 2:
            return
        yield line


def readme() -> str:
    table = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows()]
    return "\n".join(
        [
            "# Chart of Tandem",
            "",
            "How to use it: [deploy/docs/en/kubernetes.md](../../docs/en/kubernetes.md).",
            "Value sets to begin with are in [ci](ci).",
            "Values that contradict each other, and unknown ones, are refused with what to do.",
            "",
            "| Value | Default | Meaning |",
            "| --- | --- | --- |",
            *table,
            "",
        ]
    )


def files() -> Mapping[Path, str]:
    with Chart.load(CHART) as chart:
        texts = {MANIFESTS / f"{name}.yaml": plain(chart, name) for name in PLAIN}
    return {CHART / "README.md": readme(), CHART / "values.schema.json": schema(), **texts}


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema(), encoding="utf-8")  # first: the chart is checked by it
    MANIFESTS.mkdir(exist_ok=True)
    for written, text in files().items():
        written.write_text(text, encoding="utf-8")
