"""Signing in with an API key, signing out, and the choice of a language."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.errors import Unauthorized
from app.http.security.callers import Callers
from app.ui import language, session
from app.ui.rendering import PageRoute, field, redirect, render

router = APIRouter(include_in_schema=False, route_class=PageRoute)

MAX_PATH_CHARACTERS: Final = 4096
YEAR_SECONDS: Final = 365 * 24 * 3600

Next = Annotated[str, Query(alias="next", max_length=MAX_PATH_CHARACTERS)]


@router.get("/ui/login")
async def login_page(request: Request, wanted: Next = "/") -> Response:
    return render(request, "login.html", wanted=local(wanted), wrong=False)


@router.post("/ui/login")
async def login(request: Request) -> Response:
    session.check_origin(request)
    form = await request.form(max_files=0, max_fields=4)
    key, wanted = field(form, "key").strip(), local(field(form, "next", "/"))
    callers = request.app.state.callers
    assert isinstance(callers, Callers)
    try:
        await callers.caller(f"Bearer {key[: session.MAX_KEY_CHARACTERS]}")
    except Unauthorized:
        return render(request, "login.html", 401, wanted=wanted, wrong=True)
    response = redirect(request, wanted)
    session.sign_in(response, request, key)
    return response


@router.post("/ui/logout")
async def logout(request: Request) -> Response:
    session.check_origin(request)
    response = redirect(request, "/ui/login")
    session.sign_out(response, request)
    return response


@router.post("/ui/language")
async def choose_language(request: Request) -> Response:
    session.check_origin(request)
    form = await request.form(max_files=0, max_fields=4)
    response = RedirectResponse(local(field(form, "next", "/")), 303)
    chosen = "zh" if field(form, "language") == "zh" else "en"
    response.set_cookie(
        language.COOKIE,
        chosen,
        max_age=YEAR_SECONDS,
        path=request.scope.get("root_path", "") or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response


def local(wanted: str) -> str:
    """Returns `wanted` if it is a path of this node; the first page otherwise, so that no link leads elsewhere."""
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_local and "\\" not in wanted else "/"
