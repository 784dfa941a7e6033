"""Milvus filter expressions from user-supplied values (document ids, partitions, values of filters). Pure."""

import re
from collections.abc import Mapping, Sequence

from retrieval.errors import StoreFailed

Scalar = str | int | float | bool
Value = Scalar | Sequence[Scalar]


class Pattern(str):
    """The right side of `like`, which servers take as a literal only."""

    __slots__ = ()


# The escapes that the grammars of Milvus and Milvus Lite share. Every other character, control characters and those
# beyond the basic plane included, is literal in both.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def literal(value: Value) -> str:
    """Returns one value, or a list, as a literal. Numbers have to be finite, and integers above -2**63, since Milvus
    parses the sign separately from the digits. Raises StoreFailed for text that UTF-8 cannot encode.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str):
        return f"[{', '.join(literal(item) for item in value)}]"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StoreFailed("A value of a store filter is not valid Unicode: it holds a lone surrogate.") from error
    return f'"{value.translate(_ESCAPES)}"'


def render(template: str, values: Mapping[str, Value]) -> str:
    """Returns `template` with each `{name}` replaced by the literal of `values[name]`.

    Used for servers without templates of their own. Replaces in one pass, so that braces inside a value are kept.
    """
    return _PLACEHOLDER.sub(lambda match: literal(values[match[1]]), template)


def condition(template: str, values: Mapping[str, Value], *, templates: bool) -> dict[str, object]:
    """Returns arguments for a MilvusClient method: the values are separate from the expression if the server has
    templates, else inside it.
    """
    if not templates:
        return {"filter": render(template, values)}
    inline = {name for name, value in values.items() if isinstance(value, Pattern)}
    text = _PLACEHOLDER.sub(lambda match: literal(values[match[1]]) if match[1] in inline else match[0], template)
    # Only what the template names: a server refuses values that it has no use for. Sequences other than lists too.
    named = {name: values[name] for name in _PLACEHOLDER.findall(template) if name not in inline}
    params = {name: list(value) if isinstance(value, list | tuple) else value for name, value in named.items()}
    return {"filter": text, "filter_params": params}
