"""The small texts people write in fields: names, durations, sizes, percentages, thumbprints, conditions."""

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler, StringConstraints, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
TAG_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""The name of a declared thing, unique per kind in a space."""

Tag = Annotated[str, StringConstraints(pattern=TAG_PATTERN)]
"""A tag of a tag set, written `tagset/tag`."""


def _source_text(value: object) -> object:
    if isinstance(value, str):
        return value
    raise PydanticCustomError("text_source", "a text is expected here")


Text = Annotated[
    str,
    BeforeValidator(_source_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
"""A text that takes a scalar's source as it stands: `1.10` stays "1.10" and `no` stays "no".

The validator refuses anything but a string with the error type `text_source`; the loader then puts in the scalar's
source text and validates again, so no other field is ever coerced.
"""

Label = Annotated[str, StringConstraints(min_length=1, max_length=63)]
"""The key of a label or annotation."""


class MeasuredText(str):
    """A text with a grammar, kept as written, whose measure is computed where it is needed."""

    __slots__ = ()
    pattern: ClassVar[re.Pattern[str]]
    error: ClassVar[str]
    explanation: ClassVar[str]

    @classmethod
    def check(cls, text: str) -> Self:
        """Return `text` as this type, or raise the located error that explains the grammar."""
        if text and cls.pattern.fullmatch(text):
            return cls(text)
        raise PydanticCustomError(cls.error, cls.explanation, {"given": text})

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls.check,
            core_schema.str_schema(strict=True, metadata={"pydantic_js_input_core_schema": None}),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{cls.pattern.pattern}$"}


class Duration(MeasuredText):
    """A span of time such as `500ms`, `15s`, `1h30m`, `7d`; a bare number is an error."""

    __slots__ = ()
    pattern = re.compile(r"(?=\d)(?:\d+d)?(?:\d+h)?(?:\d+m(?!s))?(?:\d+s)?(?:\d+ms)?")
    error = "bad-duration"
    explanation = 'a duration is expected, such as "500ms", "15s", "1h30m" or "7d"'

    @property
    def seconds(self) -> float:
        """The span in seconds."""
        units = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
        return sum(int(count) * units[unit] for count, unit in re.findall(r"(\d+)(ms|[dhms])", self))


class Percentage(MeasuredText):
    """A share such as `25%`."""

    __slots__ = ()
    pattern = re.compile(r"(?:100|\d{1,2})%")
    error = "bad-percentage"
    explanation = 'a percentage is expected, such as "25%"'

    @property
    def share(self) -> float:
        """The share between 0 and 1."""
        return int(self[:-1]) / 100


class Size(MeasuredText):
    """A number of bytes such as `64KiB`, `100MiB`, `2GiB`."""

    __slots__ = ()
    pattern = re.compile(r"\d+(?:[KMG]i?B|B)")
    error = "bad-size"
    explanation = 'a size is expected, such as "64KiB", "100MiB" or "2GB"'

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        units = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
        count, unit = re.findall(r"(\d+)(.+)", self)[0]
        return int(count) * units[unit]


class Removals(MeasuredText):
    """How many removals one apply may carry out: a number or a percentage."""

    __slots__ = ()
    pattern = re.compile(r"\d{1,6}|(?:100|\d{1,2})%")
    error = "bad-removals"
    explanation = 'a number or a percentage is expected, such as "3" or "25%"'

    def most(self, total: int) -> int:
        """Say how many of `total` may go: a percentage is rounded up, and is at least 1."""
        if not self.endswith("%"):
            return int(self)
        return max(1, -(-total * int(self[:-1]) // 100))


class Thumbprint(MeasuredText):
    """The SHA-256 of a certificate's public key (SPKI): `SHA256:` and unpadded base64."""

    __slots__ = ()
    pattern = re.compile(r"SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]")
    error = "bad-thumbprint"
    explanation = 'a thumbprint is expected: "SHA256:" and the 43 characters of an unpadded base64 SHA-256'


class Subscription(MeasuredText):
    """The identity under which a polling agent calls."""

    __slots__ = ()
    pattern = re.compile(r"poll://[A-Za-z0-9._-]{3,128}")
    error = "bad-subscription"
    explanation = 'a subscription is expected, such as "poll://k3v9x2m1"'


def _condition(text: str) -> str:
    if text in {"success", "failure", "always"} or (text.startswith("${{") and text.endswith("}}")):
        return text
    raise PydanticCustomError(
        "bad-condition", 'a condition is "success", "failure", "always" or an expression "${{ … }}"'
    )


Condition = Annotated[str, AfterValidator(_condition)]
"""When a step runs, seen from the steps before it."""


COMPARISON = re.compile(r"\s*(>=|<=|==|!=|>|<|=)?\s*(.*?)\s*")
"""One part of a requirement: a sign, or none, and what is compared with."""

VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")


def _requirement(text: str) -> str:
    parts = [COMPARISON.fullmatch(part) for part in text.split(",")]
    if all(part is not None and (part[1] in {None, "=", "==", "!="} or VERSION.match(part[2])) for part in parts):
        return text
    raise PydanticCustomError(
        "bad-requirement", 'a requirement is expected, such as ">=1.5", ">=1.5,<2", "1.5" or "*" for any version'
    )


Requirement = Annotated[Text, AfterValidator(_requirement)]
"""What a capability must be: `>=1.5`, several parts with commas, an equal value, or `*`; signs go with versions."""


def slug(name: str) -> str:
    """Make an id of a name: `Back up database` → `back-up-database`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
