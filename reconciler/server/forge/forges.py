"""Forges: what they are told of commits and pull requests, through one seam.

The requests are those of GitHub's REST API (2022-11-28), of GitLab's v4, and of Gitea's v1, which Forgejo speaks too.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import quote

from reconciler.server.forge.line import ForgeProblem, Line

PER_PAGE, PAGES_MAX = 100, 30
"""Comments of one page, and pages that are looked through for the one to be updated."""

DESCRIPTION_MAX = 140
"""Characters of a status: GitHub takes no more."""


class State(StrEnum):
    """What is told of a commit."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    SUPERSEDED = "superseded"
    """A later commit came before it had become reality."""


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a commit under a name; `url` leads to more, or is empty."""

    commit: str
    state: State
    description: str
    context: str
    url: str = ""

    @property
    def short(self) -> str:
        """The description as every forge takes it; a cut shows."""
        text = " ".join(self.description.split())
        return text if len(text) <= DESCRIPTION_MAX else f"{text[: DESCRIPTION_MAX - 1]}…"


class Forge(Protocol):
    """A forge; both methods wait for it, and raise ForgeProblem."""

    def status(self, status: Status) -> None:
        """Tell the status of a commit, in place of a former one of the same name."""

    def comment(self, pull: int, marker: str, body: str) -> None:
        """Put `body`, which begins with `marker`, into the comment of a pull request that does, or write one."""


def forge_of(kind: str, line: Line, repository: str) -> Forge:
    """Return the forge of a kind."""
    kinds: Mapping[str, Callable[[Line, str], Forge]] = {"github": Github, "gitlab": Gitlab, "gitea": Gitea}
    return kinds[kind](line, repository)


@dataclass(frozen=True, slots=True)
class Github:
    """GitHub; `repository` is `OWNER/NAME`."""

    line: Line
    repository: str

    def status(self, status: Status) -> None:
        """Tell the status of a commit."""
        state = "error" if status.state is State.SUPERSEDED else status.state.value
        self._ask("POST", f"/statuses/{status.commit}", _status(status, state, "context"))

    def comment(self, pull: int, marker: str, body: str) -> None:
        """Update the comment that begins with `marker`, or write one."""
        comments = f"/issues/{pull}/comments"

        def change(number: int) -> None:
            self._ask("PATCH", f"/issues/comments/{number}", {"body": body})

        pages = (self._ask("GET", f"{comments}?per_page={PER_PAGE}&page={page}") for page in range(1, PAGES_MAX + 1))
        if not _updated(pages, marker, body, change):
            self._ask("POST", comments, {"body": body})

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.line.token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        return self.line.ask(method, f"/repos/{quote(self.repository)}{path}", headers, body)


@dataclass(frozen=True, slots=True)
class Gitea:
    """Gitea and Forgejo; `repository` is `OWNER/NAME`."""

    line: Line
    repository: str

    def status(self, status: Status) -> None:
        """Tell the status of a commit."""
        state = "warning" if status.state is State.SUPERSEDED else status.state.value
        self._ask("POST", f"/statuses/{status.commit}", _status(status, state, "context"))

    def comment(self, pull: int, marker: str, body: str) -> None:
        """Update the comment that begins with `marker`, or write one; a list of comments has no pages here."""
        comments = f"/issues/{pull}/comments"

        def change(number: int) -> None:
            self._ask("PATCH", f"/issues/comments/{number}", {"body": body})

        if not _updated(iter([self._ask("GET", comments)]), marker, body, change):
            self._ask("POST", comments, {"body": body})

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        headers = {"Accept": "application/json", "Authorization": f"token {self.line.token}"}
        return self.line.ask(method, f"/repos/{quote(self.repository)}{path}", headers, body)


@dataclass(frozen=True, slots=True)
class Gitlab:
    """GitLab; `repository` is the path of the project, or its number."""

    line: Line
    repository: str

    def status(self, status: Status) -> None:
        """Tell the status of a commit; one that it has already is refused by GitLab, and fine."""
        states = {State.FAILURE: "failed", State.SUPERSEDED: "canceled"}
        body = _status(status, states.get(status.state, status.state.value), "name")
        try:
            self._ask("POST", f"/statuses/{status.commit}", body)
        except ForgeProblem as problem:
            if problem.code != 400 or "Cannot transition status" not in problem.message:
                raise

    def comment(self, pull: int, marker: str, body: str) -> None:
        """Update the note of a merge request that begins with `marker`, or write one."""
        notes = f"/merge_requests/{pull}/notes"

        def change(number: int) -> None:
            self._ask("PUT", f"{notes}/{number}", {"body": body})

        pages = (self._ask("GET", f"{notes}?per_page={PER_PAGE}&page={page}") for page in range(1, PAGES_MAX + 1))
        if not _updated(pages, marker, body, change, last=0):  # what the token may not see is left out of its page
            self._ask("POST", notes, {"body": body})

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        headers = {"Accept": "application/json", "PRIVATE-TOKEN": self.line.token}
        return self.line.ask(method, f"/projects/{quote(self.repository, safe='')}{path}", headers, body)


def _status(status: Status, state: str, name: str) -> dict[str, object]:
    body: dict[str, object] = {"state": state, name: status.context, "description": status.short}
    return body | ({"target_url": status.url} if status.url else {})


def _updated(
    pages: Iterator[Any], marker: str, body: str, change: Callable[[int], None], *, last: int = PER_PAGE - 1
) -> bool:
    """Change the first comment that begins with `marker` and is ours to change; False where there is none.

    A page of `last` comments or fewer is the last one.
    """
    for number, found in _marked(pages, marker, last):
        if found == body:
            return True
        try:
            change(number)
        except ForgeProblem as problem:
            if problem.code not in {403, 404}:  # somebody else's, or gone meanwhile
                raise
        else:
            return True
    return False


def _marked(pages: Iterator[Any], marker: str, last: int) -> Iterator[tuple[int, str]]:
    for page in pages:
        found = [item for item in page if isinstance(item, dict)] if isinstance(page, list) else []
        for item in found:
            body = item.get("body")
            if isinstance(body, str) and body.startswith(marker) and isinstance(item.get("id"), int):
                yield item["id"], body.replace("\r\n", "\n")
        if len(found) <= last:
            return
