"""Renders templates to answers, and errors to pages."""

import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from app import ROOT
from app.access.caller import Caller
from app.access.view import NodeView
from app.errors import STATUS, validation_error
from app.http.routes.dependencies import ServingNode
from app.http.uploads import UploadRoute
from app.ui import assets, session
from app.ui.language import language_of, translator
from retrieval.errors import InvalidRequest, TandemError

ModelT = TypeVar("ModelT", bound=BaseModel)

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
PAGE_KEY: Final = "page"
"""Name of the installation's key that tokens are made with."""

_templates: Final = Environment(
    loader=FileSystemLoader(ROOT / "app" / "ui" / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["asset"] = assets.address
_templates.filters["path"] = lambda text: quote(str(text), safe="/")
_templates.filters["when"] = lambda at: at.strftime("%Y-%m-%d %H:%M:%S") if isinstance(at, datetime) else ""
_templates.filters["compact"] = lambda value: json.dumps(value, ensure_ascii=False)
_templates.filters["bytes"] = lambda size: (
    f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{size / 1024:.1f} KB" if size >= 1024 else f"{size} B"
)


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Returns the template in the language of the request. Every value is escaped."""
    language = language_of(request)
    base = request.scope.get("root_path", "")
    text = _templates.get_template(template).render(
        base=base,
        path=request.url.path.removeprefix(base),
        here=str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""),
        language=language,
        t=translator(language),
        signed_in=session.COOKIE in request.cookies,
        csrf=getattr(request.state, "csrf", ""),
        can=_permissions(request),
        **values,
    )
    return HTMLResponse(text, status, HEADERS)


def _permissions(request: Request) -> Callable[..., bool]:
    """Returns the function by which templates leave out what the key may not do; the services refuse it in any case."""
    caller = request.scope.get("state", {}).get("caller")
    return caller.has if isinstance(caller, Caller) else lambda *_: False


def redirect(request: Request, path: str) -> RedirectResponse:
    """Returns the answer to a change: the browser loads `path`, a path of this node that begins with `/`."""
    return RedirectResponse(request.scope.get("root_path", "") + path, 303)


def error_page(request: Request, error: TandemError) -> HTMLResponse:
    return render(request, "error.html", STATUS.get(error.code, 500), error=error)


class PageRoute(APIRoute):
    """A route of the pages: an error is answered as a page with its message."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except TandemError as error:
                return error_page(request, error)
            except RequestValidationError as error:
                return error_page(request, validation_error(error.errors()))

        return as_page


class UploadPageRoute(PageRoute, UploadRoute):
    """A route that accepts files."""


async def page_node(request: Request, node: ServingNode) -> NodeView:
    """Returns the node, and puts the session's token into the request's state for the forms of the page."""
    request.state.secret = await _secret(request, node)
    request.state.csrf = session.token_of(request.state.secret, request)
    return node


async def _secret(request: Request, node: NodeView) -> bytes:
    kept = getattr(request.app.state, "page_secret", None)
    if kept is None:
        kept = request.app.state.page_secret = await node.secret(PAGE_KEY)
    return bytes(kept)


PageNode = Annotated[NodeView, Depends(page_node)]


async def checked_form(request: Request, *, max_files: int = 0) -> FormData:
    """Returns the form of a change after checking that a page of this node sent it. Raises OriginNotAllowed."""
    session.check_origin(request)
    form = await request.form(max_files=max_files, max_fields=64)
    session.check_token(request.state.secret, request, form)
    return form


def field(form: FormData, name: str, default: str = "") -> str:
    """Returns a text field; `default` if it is absent or a file."""
    value = form.get(name, default)
    return value if isinstance(value, str) else default


def whole_number(form: FormData, name: str) -> int | None:
    """Returns the number in a text field; None if it is empty. Raises InvalidRequest."""
    text = field(form, name).strip()
    try:
        return int(text) if text else None
    except ValueError:
        raise InvalidRequest(f"{name}: {text[:40]!r} is not a whole number.") from None


def validated(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """Returns the request that the values of a form make. Raises InvalidRequest, which names each wrong field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False, include_input=False)) from None
