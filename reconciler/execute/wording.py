"""What agents say in words, made fit for a log, a database and a terminal: they may be broken, or hostile."""

import unicodedata
from dataclasses import replace

from reconciler.protocol.messages import Hello
from reconciler.protocol.tickets import Declined, Final, Lost, NotStarted, TicketReport

SENTENCE_MAX = 8192
"""Characters of a reason or a message, as many as our agent says."""

FACT_MAX = 256
"""Characters of what a machine says of itself; more would be no version of a program."""

NAME_MAX = 255
"""Characters of an artifact's or an output's name, as many as a file's name has."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that command a terminal, turn the direction of writing, or cannot be stored."""


def sentence(text: str) -> str:
    """Return text as one line that says nothing but what is seen; hidden characters are �."""
    text = text[:SENTENCE_MAX]
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(letter) for letter in " ".join(text.split()))


def final_in_words(final: Final) -> Final:
    """Return how a ticket ended with sentences that can be shown."""
    ending = final.ending
    if isinstance(ending, NotStarted | Lost):
        ending = replace(ending, reason=sentence(ending.reason))
    outputs = tuple(replace(output, name=sentence(output.name[:NAME_MAX])) for output in final.outputs)
    return replace(final, ending=ending, message=sentence(final.message), outputs=outputs)


def report_in_words(report: TicketReport) -> TicketReport:
    """Return the state of a ticket with a reason that can be shown."""
    if isinstance(report.state, Declined):
        return replace(report, state=Declined(sentence(report.state.reason)))
    return report


def greeting_in_words(hello: Hello) -> Hello:
    """Return a greeting with facts that can be shown."""
    found = {_fact(name): _fact(value) for name, value in hello.capabilities.items()}
    return replace(
        hello, store=_fact(hello.store), boot=_fact(hello.boot), release=_fact(hello.release), capabilities=found
    )


def is_name(name: str) -> bool:
    """Say whether an artifact may be called so: a relative path without detours, and nothing hidden."""
    parts = name.split("/")
    is_path = len(name) <= NAME_MAX and not any(part in {"", ".", ".."} for part in parts)
    return is_path and sentence(name) == name


def _fact(text: str) -> str:
    return sentence(text[:FACT_MAX])


def _seen(letter: str) -> str:
    return "\ufffd" if unicodedata.category(letter) in HIDDEN else letter
