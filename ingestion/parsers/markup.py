"""Prepares HTML for conversion: marks what a converter would drop or join (pure)."""

import html
import re

from ingestion.parsers.office.markdown import raised

# The text of a form is text; only its controls are not.
_FORM = re.compile(r"<(/?)form(?=[\s>/])[^>]*>", re.IGNORECASE)
_CONTROL = re.compile(r"<(select|datalist|textarea)(?=[\s>])[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_RAISED = re.compile(r"<sup(?=[\s>])[^>]*>(\s*(?:<[a-z][^>]*>\s*){0,4})([^<]{1,100})", re.IGNORECASE)
_VERBATIM = re.compile(r"(<(script|style|template)(?=[\s>]).*?</\2\s*>|<!--.*?-->)", re.IGNORECASE | re.DOTALL)


def prepared(source: str) -> str:
    """Returns the HTML with forms as plain sections, without their controls, and with superscripts marked: `10^6`."""
    if "<" not in source:
        return source
    source = _VERBATIM.sub("", source)
    source = _FORM.sub(lambda match: f"<{match[1]}div>", source)
    source = _CONTROL.sub(" ", source)
    return _RAISED.sub(_marked, source)


def _marked(match: re.Match[str]) -> str:
    text = html.unescape(match[2])
    return f"<sup>{match[1]}{html.escape(raised(text), quote=False)}"
