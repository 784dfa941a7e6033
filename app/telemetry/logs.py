"""The log: one line an event on standard error."""

import logging
import sys

import structlog


def configure_logging(level: str, *, as_json: bool) -> None:
    """Sends structlog to standard error, one line per event. Tracebacks omit variables, which may hold users' texts."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.format_exc_info] if as_json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    protocol = logging.getLogger("mcp")
    protocol.handlers, protocol.propagate = [_LibraryLogHandler()], False
    protocol.setLevel(logging.WARNING)


class _LibraryLogHandler(logging.Handler):
    """Logs the messages of libraries in our format: the place and the kind of error. The text is dropped, since it may
    quote a request.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno,
            f"{record.name.partition('.')[0]} reports a problem",
            where=f"{record.name}:{record.lineno}",
            error=error.__name__ if error else None,
        )
