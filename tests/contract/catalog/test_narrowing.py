"""Catalog: a list for a filter leaves out no document that the filter is true of, and does leave out others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from app.access.space import _as_row
from ingestion.catalog.catalog import SqlCatalog
from ingestion.selection import Selection, selected
from ingestion.types import JobId
from retrieval.filters.evaluate import matches
from retrieval.filters.parse import parse_filter
from retrieval.filters.tree import Filter
from tests.support.stores.catalog import a_collection, a_document
from tests.support.stores.filters import DECLARED, every_kind, trees

COLLECTION = replace(a_collection(), metadata_keys=DECLARED)
DOCUMENTS = [
    replace(a_document(f"d{number}"), media_type=row.media_type, partition=row.partition, metadata=row.metadata)
    for number, row in enumerate(every_kind())
]


@pytest.fixture
async def filled(catalog: SqlCatalog) -> SqlCatalog:
    await catalog.add_collection(COLLECTION)
    await catalog.accept(JobId("one"), "docs", DOCUMENTS)
    return catalog


async def found(catalog: SqlCatalog, filter: Filter) -> tuple[list[str], list[str]]:
    """Ids that the catalog returns for the filter, and of those that it is true of."""
    narrowed = await catalog.documents("docs", filter=filter, limit=1000)
    return [each.document.id for each in narrowed], [
        each.document.id async for each in selected(catalog, "docs", holding(filter))
    ]


def holding(filter: Filter) -> Selection:
    """Of the filter alone: nothing is left out by the catalog."""
    return Selection(lambda record: matches(filter, _as_row(record)))


@given(filter=trees())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_nothing_is_left_out_that_the_filter_is_true_of(filled: SqlCatalog, filter: Filter) -> None:
    returned, true_of = await found(filled, filter)
    assert set(true_of) <= set(returned)


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "eq", "key": "metadata.any", "value": "中文"},
        {"type": "in", "key": "metadata.tag", "value": ["ab", '" or 1 == 1 or "']},
        {"type": "contains", "key": "metadata.any", "value": "a"},
        {"type": "starts_with", "key": "metadata.any", "value": "50%"},
        {"type": "gt", "key": "metadata.any", "value": 2023},
        {"type": "gte", "key": "metadata.price", "value": 5.5},
        {"type": "lt", "key": "metadata.any", "value": 0},
        {"type": "eq", "key": "metadata.any", "value": 5.5},
        {"type": "exists", "key": "metadata.none"},
        {"type": "ne", "key": "metadata.none", "value": 3},
        {"type": "eq", "key": "document_id", "value": "d3"},
        {"type": "in", "key": "partition", "value": ["ab", "nowhere"]},
        {
            "type": "and",
            "filters": [
                {"type": "eq", "key": "media_type", "value": "text/html"},
                {"type": "gt", "key": "metadata.year", "value": 1},
                {
                    "type": "or",
                    "filters": [{"type": "eq", "key": "metadata.a/b", "value": text} for text in ("5", "a")],
                },
            ],
        },
    ],
)
async def test_most_others_are_left_out(filled: SqlCatalog, tree: Mapping[str, Any]) -> None:
    returned, true_of = await found(filled, parse_filter(tree, DECLARED))
    assert set(true_of) <= set(returned)
    assert len(returned) <= len(true_of) + 3 < len(DOCUMENTS) / 2
