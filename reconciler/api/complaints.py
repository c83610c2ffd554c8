"""What the web server complains of, in the server's own log and its form."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import format_exception

from reconciler.server.voice import Voice

LOGGER = "uvicorn.error"

MEANT = "ASGI callable returned without completing response."
"""What it says of an answer that we have broken off; whoever did that has said why."""


class _Told(logging.Handler):
    """Hands records to a voice."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(logging.WARNING)
        self._voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one, with its traceback where it has one."""
        said = record.getMessage().strip()
        if said == MEANT:
            return
        trace = "".join(format_exception(*record.exc_info)) if record.exc_info and record.exc_info[0] else ""
        self._voice.warn("http", reason=said, **({"traceback": trace} if trace else {}))


@contextmanager
def complaints_told(voice: Voice) -> Iterator[None]:
    """Have a voice tell while the context stands what the web server complains of."""
    logger, told = logging.getLogger(LOGGER), _Told(voice)
    logger.addHandler(told)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(told)
