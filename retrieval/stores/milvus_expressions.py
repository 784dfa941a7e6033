"""Milvus filter expressions from values that users chose (document ids, partitions). Pure."""

import re
from collections.abc import Mapping, Sequence

from retrieval.errors import StoreFailed

Value = str | int | Sequence[str] | Sequence[int]

# The escapes that the grammars of Milvus and Milvus Lite share. Every other character, control characters and those
# beyond the basic plane included, stands for itself in both.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def literal(value: Value) -> str:
    """A string, a number, or a list of either, as a literal. Raises StoreFailed for text that UTF-8 cannot carry."""
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return f"[{', '.join(literal(item) for item in value)}]"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StoreFailed("A value of a store filter is not valid Unicode: it holds a lone surrogate.") from error
    return f'"{value.translate(_ESCAPES)}"'


def render(template: str, values: Mapping[str, Value]) -> str:
    """`template` with each `{name}` replaced by the literal of `values[name]`.

    For servers that have no templates of their own. One pass, so that braces inside a value are left alone.
    """
    return _PLACEHOLDER.sub(lambda match: literal(values[match[1]]), template)


def condition(template: str, values: Mapping[str, Value], *, templates: bool) -> dict[str, object]:
    """Arguments of a MilvusClient method: beside the expression where the server has templates, else inside it."""
    if not templates:
        return {"filter": render(template, values)}
    # Only what the template names: a server refuses values that it has no use for. Sequences other than lists too.
    names = _PLACEHOLDER.findall(template)
    return {
        "filter": template,
        "filter_params": {
            name: value if isinstance(value := values[name], str | int) else list(value) for name in names
        },
    }
