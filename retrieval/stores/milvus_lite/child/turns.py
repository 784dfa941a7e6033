"""Serialises calls in Milvus Lite's process, which protects a collection neither against two writers, nor a reader
against the flush that a writer causes. The node's own turns are not enough: after a timeout the caller is gone, and yet
its call may still run.
"""

import threading
from typing import Any

import grpc

_METHODS = frozenset(
    {
        *("Insert", "Upsert", "Delete", "Flush", "Query", "CreateCollection", "DropCollection", "LoadCollection"),
        *("CreateAlias", "AlterAlias", "DropAlias", "CreateIndex"),
    }
)
_LONGEST_S = 600.0


class Turns(grpc.ServerInterceptor):  # type: ignore[misc]
    def __init__(self) -> None:
        self._turn = threading.Lock()

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method.rpartition("/")[2] not in _METHODS:
            return handler

        def in_turn(request: Any, context: Any) -> Any:
            left = context.time_remaining()
            if not self._turn.acquire(timeout=_LONGEST_S if left is None else max(0.0, min(left, _LONGEST_S))):
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Another call took all the time.")
            try:
                if not context.is_active():
                    # The caller has gone, and counts this call as not done.
                    context.abort(grpc.StatusCode.CANCELLED, "The caller has gone.")
                return handler.unary_unary(request, context)
            finally:
                self._turn.release()

        return grpc.unary_unary_rpc_method_handler(
            in_turn,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
