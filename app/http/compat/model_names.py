"""The names under which other products' clients may request this node's models."""

from app.access.view import NodeView
from app.errors import ModelNotFound
from retrieval.ports import Embedder

ALIAS = "tandem"
"""Whichever model answers here."""


def embedder_named(node: NodeView, name: str | None) -> Embedder:
    """Returns the embedder of this name. Raises ModelNotFound."""
    for embedder in node.embedders.every:
        if is_named(embedder.fingerprint.model, name):
            return embedder
    raise _unknown(name, [each.fingerprint.model for each in node.embedders.every])


def check_reranker(node: NodeView, name: str | None) -> None:
    """Raises ModelNotFound unless the name is that of the node's reranker."""
    model = node.reranker.model
    if not is_named(model, name):
        raise _unknown(name, [model])


def is_named(model: str, name: str | None) -> bool:
    """Returns whether the name is the model's id, its name without the owner's, ALIAS, or missing."""
    return name in (None, model, model.rpartition("/")[2], ALIAS)


def _unknown(name: str | None, served: list[str]) -> ModelNotFound:
    answers = " or ".join(repr(each) for each in served)
    return ModelNotFound(
        f"model: {str(name)[:200]!r} is not served here; {answers} is, also as {ALIAS!r}.", param="model"
    )
