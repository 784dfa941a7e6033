"""Converts the fields of the search page to a request of POST /search, and to code that sends the same request."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import ImmutableMultiDict

from app.http.schemas.query import SearchIn
from app.ui.rendering import validated
from retrieval.errors import InvalidRequest
from retrieval.filters.tree import KeyType

OPERATORS: Final = ("eq", "ne", "gt", "gte", "lt", "lte", "contains", "exists")
MAX_CONDITIONS: Final = 8
MAX_FIELDS: Final = 64
SECOND: Final = "b_"
"""Prefix of the fields of a comparison's second column."""
SHARED: Final = ("top_k", "min_score", "diversity", "group_by", "partition")
"""Fields that a comparison has once, for both columns."""
_NUMBERS: Final = {
    "top_k": int,
    "candidates": int,
    "rerank_weight": float,
    "budget_ms": float,
    "min_score": float,
    "diversity": float,
}


@dataclass(frozen=True, slots=True)
class Condition:
    key: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class SearchForm:
    """The fields as entered; `prefix` names those of the second column of a comparison."""

    fields: Mapping[str, str]
    conditions: Sequence[Condition]

    @classmethod
    def read(cls, parameters: ImmutableMultiDict[str, str], prefix: str = "") -> "SearchForm":
        """Reads the fields. The second column takes missing fields from the first."""
        if len(parameters) > MAX_FIELDS:
            raise InvalidRequest(f"The address has {len(parameters)} fields; at most {MAX_FIELDS} are read.")
        fields = {name: value for name, value in parameters.items() if not name.startswith(SECOND)}
        if prefix:
            fields |= {
                name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)
            }
        keys, operators, values = (parameters.getlist(f"filter_{part}") for part in ("key", "op", "value"))
        conditions = [
            Condition(*each) for each in zip(keys, operators, values, strict=False) if each[0] and each[1] in OPERATORS
        ]
        return cls(fields, conditions[:MAX_CONDITIONS])

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")

    @property
    def query(self) -> str:
        return self["q"].strip()

    @property
    def budget_ms(self) -> float | None:
        """The budget; None also if it is not a number, which `body` reports."""
        try:
            return float(self["budget_ms"])
        except ValueError:
            return None

    def body(self, declared: Mapping[str, KeyType]) -> dict[str, Any]:
        """Returns the JSON for POST /search. Raises InvalidRequest for an invalid number."""
        body: dict[str, Any] = {"query": self.query, "collection": self["collection"] or "docs"}
        for name, kind in _NUMBERS.items():
            if text := self[name].strip():
                body[name] = _number(name, text, kind)
        if self["mode"] in ("hybrid", "dense", "sparse"):
            body["mode"] = self["mode"]
        if self["rerank"] in ("on", "off"):
            body["rerank"] = self["rerank"] == "on"
        if self["group_by"]:
            body["group_by"] = "document"
        if self["partition"]:
            body["partition"] = self["partition"]
        filters = [_condition(each, declared) for each in self.conditions]
        if filters:
            body["filter"] = filters[0] if len(filters) == 1 else {"type": "and", "filters": filters}
        return body


def to_request(body: Mapping[str, Any]) -> SearchIn:
    """Parses the request. Raises InvalidRequest that names each wrong field."""
    return validated(SearchIn, {**body, "highlights": 2})


def as_curl(body: Mapping[str, Any], url: str) -> str:
    data = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    return f"curl {url}/search \\\n  -H \"Authorization: Bearer $TANDEM_API_KEY\" --json '{data}'"


def as_python(body: Mapping[str, Any], url: str) -> str:
    return "\n".join(
        [
            "from langchain_tandem import TandemClient",
            "",
            f"with TandemClient({url!r}) as tandem:  # api_key=... where the node has keys",
            f"    answer = tandem.search({_arguments(body)})",
            '    for hit in answer["hits"]:',
            '        print(hit["score"], hit["document_id"], hit["text"][:80])',
        ]
    )


def as_langchain(body: Mapping[str, Any], url: str) -> str:
    options = [f"{'k' if name == 'top_k' else name}={value!r}" for name, value in body.items() if name != "query"]
    lines = [
        "from langchain_tandem import TandemRetriever",
        "",
        f"retriever = TandemRetriever(url={url!r}, {', '.join(options)})",
        f"documents = retriever.invoke({body['query']!r})",
    ]
    return "\n".join(lines)


def _arguments(body: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in body.items() if name != "query"}
    return ", ".join([repr(body["query"]), *(f"{name}={value!r}" for name, value in rest.items())])


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise InvalidRequest(f"{name}: {text[:40]!r} is not a number.") from None


def _condition(condition: Condition, declared: Mapping[str, KeyType]) -> dict[str, Any]:
    key = condition.key
    tree: dict[str, Any] = {"type": condition.operator, "key": key}
    if condition.operator != "exists":
        tree["value"] = _value(condition.value, declared.get(key.removeprefix("metadata.")))
    return tree


def _value(text: str, kind: str | None) -> object:
    """Returns the value in the type that the collection declares for its key; for undeclared keys, a number or boolean
    if the text is one.
    """
    if kind == "text":
        return text
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"-?\d{1,18}\.\d{1,18}", text):
        return float(text)
    return text
