"""What a checkup finds: how something is, in a sentence, and what to do where it is not as it should be."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How something was found."""

    FINE = "fine"
    DOUBTFUL = "doubtful"
    """It works, and may not for long."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is empty where it is fine."""

    check: str
    verdict: Verdict
    sentence: str
    fix: str = ""


def fine(check: str, sentence: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(check, Verdict.FINE, sentence)


def doubtful(check: str, sentence: str, fix: str) -> Finding:
    """Say that something works, and may not for long."""
    return Finding(check, Verdict.DOUBTFUL, sentence, fix)


def wrong(check: str, sentence: str, fix: str) -> Finding:
    """Say that something does not work."""
    return Finding(check, Verdict.WRONG, sentence, fix)
