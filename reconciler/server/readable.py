"""Settings that name a file: absolute, and there when the server starts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

from pydantic import AfterValidator, BaseModel


def _readable(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError(f"{path} is not absolute")
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return path


_FILE = AfterValidator(_readable)
_CLOSED = "for the server's account alone"

Readable = Annotated[str, _FILE]
ReadableSecret = Annotated[str, _FILE, _CLOSED]


def named_files(table: BaseModel) -> Iterator[tuple[Path, bool]]:
    """Yield every file that a table of settings and those in it name, and whether it is a secret."""
    for name, field in type(table).model_fields.items():
        value = getattr(table, name, None)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                yield from named_files(each)
        marks = list(_marks(field.annotation, *field.metadata))
        if isinstance(value, str) and _FILE in marks:
            yield Path(value), _CLOSED in marks


def _marks(*annotations: object) -> Iterator[object]:
    for each in annotations:
        yield each
        yield from _marks(*get_args(each))
