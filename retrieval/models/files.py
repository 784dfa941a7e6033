"""A model's folder on disk: which files a model needs, and whether all of them exist."""

from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError, loads
from pathlib import Path

NEEDED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*")
"""Files to download. Weights in other formats (`.bin`, ONNX, OpenVINO, GGUF) would only double the volume."""
NOT_NEEDED = ("onnx/*", "openvino/*", "original/*", "consolidated*")

PARTIAL = ".partial"
"""Suffix of the folder that a download fills; it is renamed when everything arrived."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    name: str
    """`<organisation>/<name>`."""
    folder: Path
    bytes: int
    missing: tuple[str, ...]
    """Reasons why it cannot be used; empty for a complete model."""

    @property
    def complete(self) -> bool:
        return not self.missing


def missing_files(folder: Path, *, weights: bool = True) -> tuple[str, ...]:
    """Returns the names of the files that a model in `folder` lacks, each with the reason if it is other than absence.
    `weights` says whether the model needs weight files.
    """
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not weights:
        return tuple(missing)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            weight_map: dict[str, str] = loads(index.read_text(encoding="utf-8"))["weight_map"]
            shards = sorted(set(weight_map.values()))
        except (JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            return (*missing, f"{index.name} (damaged)")
    else:
        shards = ["model.safetensors"]
    return (*missing, *(problem for shard in shards if (problem := _problem(folder / shard))))


def _problem(weights: Path) -> str | None:
    """Returns None for a safetensors file that is as long as its header says; otherwise its name and the problem.

    The header is 8 bytes of length (little endian) and JSON with the offsets of every tensor.
    """
    if not weights.is_file():
        return weights.name
    size = weights.stat().st_size
    try:
        with weights.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = loads(file.read(min(length, size)))
        expected = (
            8 + length + max(tensor["data_offsets"][1] for key, tensor in header.items() if key != "__metadata__")
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return f"{weights.name} (damaged)"
    return None if size == expected else f"{weights.name} ({size} of {expected} bytes)"


def installed(models_dir: Path) -> list[InstalledModel]:
    """Returns every model in `models_dir`, by name, incomplete downloads included. Empty if the folder does
    not exist.
    """
    return sorted(_entries(models_dir), key=lambda model: model.name)


def _entries(models_dir: Path) -> Iterator[InstalledModel]:
    for folder in models_dir.glob("*/*/"):
        if folder.parent.name.startswith("."):
            continue
        partial = folder.name.endswith(PARTIAL)
        yield InstalledModel(
            name=f"{folder.parent.name}/{folder.name.removesuffix(PARTIAL)}",
            folder=folder,
            bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
            missing=("the rest of its download",) if partial else missing_files(folder),
        )
