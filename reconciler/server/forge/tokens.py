"""The tokens that forges give: each the first line of a file, in letters that a request can carry."""

from pathlib import Path

from reconciler.model.errors import UsageMistake


def read_token(path: str) -> str:
    """Return the token that a file holds; raises OSError where it cannot be read, UsageMistake where none is in it."""
    line = Path(path).read_bytes().partition(b"\n")[0].strip().decode("ascii", "replace")
    if not line or not line.isascii() or not line.isprintable():
        raise UsageMistake(
            f"{path} holds no token", "write the token that the forge gave into its first line, as it is"
        )
    return line
