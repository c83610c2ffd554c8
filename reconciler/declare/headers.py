"""Whose a document is: ours, foreign, or a typing mistake of ours; parsed or, where it does not parse, by its lines."""

import re
from functools import lru_cache

from reconciler.declare.explain import Explainer
from reconciler.declare.nodes import MappingNode, Node, ScalarNode
from reconciler.model.diagnostics import Diagnostic, did_you_mean
from reconciler.model.kinds import KINDS
from reconciler.model.near import closest, within_two
from reconciler.model.spec import API_VERSION

GROUP = "reconciler/"
"""What every apiVersion of ours begins with."""

_API_LINE = re.compile(r"""(?:^|(?<=\r))[{ ]*["']?apiVersion["']?[ \t]*:[ \t]*["']?([^\s"'#,}]+)""", re.MULTILINE)
_KIND_LINE = re.compile(r"""(?:^|(?<=\r))[{ ]*["']?kind["']?[ \t]*:[ \t]*["']?([^\s"'#,}]+)""", re.MULTILINE)
_WORD_MAX = 40  # characters; no longer word is within two letters of one of ours


def is_ours(api_version: str) -> bool:
    """Say whether an apiVersion is ours or within two letters of it."""
    return api_version.startswith(GROUP) or (len(api_version) <= _WORD_MAX and _near(api_version, (API_VERSION,)))


def is_kind(word: str) -> bool:
    """Say whether a word is one of our kinds or within two letters of one."""
    return word in KINDS or (len(word) <= _WORD_MAX and _near(word, tuple(KINDS)))


@lru_cache(maxsize=4096)  # a repository uses few words here; Kubernetes has some hundred kinds
def _near(word: str, wanted: tuple[str, ...]) -> bool:
    return any(within_two(word, other) for other in wanted)


def may_be_ours(text: str) -> bool:
    """Judge a text that does not parse: False only for one with a foreign apiVersion or without any sign of us."""
    versions = _API_LINE.findall(text)
    if versions:
        return any(is_ours(version) for version in versions)
    return GROUP in text or any(is_kind(word) for word in _KIND_LINE.findall(text))


def holds_our_version(text: str) -> bool:
    """Say whether any line of a text gives an apiVersion of ours."""
    return any(is_ours(version) for version in _API_LINE.findall(text))


def kinds_in(text: str) -> frozenset[str]:
    """Return the kinds that the lines of a text name, slips allowed for; every kind where they name none."""
    words = [word[:_WORD_MAX] for word in _KIND_LINE.findall(text)]
    named = {kind for word in words for kind in KINDS if word == kind or within_two(word, kind)}
    return frozenset(named | ({"Worker"} if "WorkerSet" in named else set()) or KINDS)


def judge(root: Node, explainer: Explainer) -> tuple[bool, str | None, tuple[Diagnostic, ...]]:
    """Return whether a document is ours, its kind, and what is wrong with its header.

    A kind with a slip is the one that is meant; it is None where that cannot be known.
    """
    if not isinstance(root, MappingNode):
        return False, None, ()
    version, kind = root.get("apiVersion"), root.get("kind")
    word = kind.text if isinstance(kind, ScalarNode) else ""
    if not isinstance(version, ScalarNode) or not version.text:
        if kind is None or not is_kind(word):
            return False, None, ()
        message = (
            f'the key "apiVersion" is missing; a document of kind "{word}" begins with "apiVersion: {API_VERSION}"'
        )
        return True, None, (explainer.error(explainer.spot(kind, None), "missing-api-version", message),)
    if not is_ours(version.text):
        return False, None, ()
    problems = []
    if version.text != API_VERSION:
        message = f'the apiVersion "{version.text[:_WORD_MAX]}" is not known; write "{API_VERSION}"'
        problems.append(explainer.error(explainer.spot(version, None), "api-version", message))
    if kind is None:
        spot = explainer.spot(version, None)
        problems.append(explainer.error(spot, "missing-key", 'the key "kind" is missing', f"one of {', '.join(KINDS)}"))
    elif word not in KINDS:
        message = f'the kind "{word[:_WORD_MAX]}" is not known{did_you_mean(word[:_WORD_MAX], KINDS)}'
        problems.append(explainer.error(explainer.spot(kind, None), "unknown-kind", message))
        return True, _meant(word), tuple(problems)
    return True, word if word in KINDS else None, tuple(problems)


def _meant(word: str) -> str | None:
    """Return the kind that a word is a slip of, or None."""
    meant = closest(word[:_WORD_MAX], KINDS)
    return meant if meant is not None and within_two(word, meant) else None
