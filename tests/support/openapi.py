"""The API's schema as tests see it, generated once for each set of settings."""

from functools import cache
from typing import Any

from app.main import create_app
from app.settings import Settings

Json = dict[str, Any]


@cache
def openapi_schema(**settings: object) -> Json:
    """Returns the schema of a node with these settings. It is shared: nobody changes it."""
    return create_app(Settings(**settings)).openapi()  # type: ignore[arg-type]
