"""The coordinator's log: one JSON object a line, on standard error. Nothing of a message's content is ever logged."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_LOUD: Final = ("flwr", "httpx", "httpcore", "uvicorn", "alembic")


class JsonLines(logging.Formatter):
    """Moment, level, who, text; an exception's text where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        content = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            content["error"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False)


def in_json() -> None:
    """Log so from now on. What others tell of each request is left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.WARNING)
        logger.propagate = True
