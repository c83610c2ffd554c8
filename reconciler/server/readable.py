"""A setting that names a file: absolute, and there when the server starts."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _readable(path: str) -> str:
    if not Path(path).is_absolute():
        raise ValueError(f"{path} is not absolute")
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return path


Readable = Annotated[str, AfterValidator(_readable)]
