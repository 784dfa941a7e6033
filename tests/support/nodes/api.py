"""The application without a node, as tests of routes, answers and the schema see it. Made once for some settings."""

from functools import cache
from typing import Any

from fastapi import FastAPI

from app.main import create_app
from app.settings import load_settings


@cache
def api(**settings: object) -> FastAPI:
    """Returns the application with these settings. It is shared: nobody changes or starts it."""
    return create_app(load_settings(**settings))


def openapi_schema(**settings: object) -> dict[str, Any]:
    """Returns the schema of a node with these settings. It is shared: nobody changes it."""
    return api(**settings).openapi()
