"""What is sent to forges, held against their own descriptions of their APIs, and what follows from each answer they name.

Each operation below repeats what its description says: method and path, parameters, fields of the body, states, answers.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import pytest

from reconciler.server.forge.forges import Forge, State, Status, forge_of
from reconciler.server.forge.line import ForgeProblem, Line
from tests.server.listening_forge import Answer, Asked, ListeningForge, listening

COMMIT = "4f1c2d0" + "0" * 33
MARKER = "<!-- reconciler plan: shop -->"
BODY = f"{MARKER}\n### Plan: 1 to add, 0 to change, 0 to remove.\n"

GITHUB = "https://github.com/github/rest-api-description/blob/main/descriptions/api.github.com/api.github.com.2022-11-28.yaml"
GITEA = "https://github.com/go-gitea/gitea/blob/main/templates/swagger/v1-swagger.generated.json"
GITLAB_STATUSES = "https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/commit_statuses.rb"
GITLAB_NOTES = "https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/notes.rb"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its forge describes it; `limits` are characters, `refusals` the answers that are no success."""

    source: str
    """Where that is written."""
    name: str
    """What it is called there."""
    method: str
    path: str
    answers: frozenset[int]
    refusals: frozenset[int] = frozenset()
    query: frozenset[str] = frozenset()
    body: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)

    def describes(self, asked: Asked) -> bool:
        """Is a request one of these?"""
        path = re.sub(r"\{[a-z_]+\}", "[^/]+", self.path)
        return self.method == asked.method and re.fullmatch(path, urlsplit(asked.path).path) is not None


def these(*words: str) -> frozenset[str]:
    return frozenset(words)


STATUS_FIELDS = these("state", "target_url", "description", "context")
OPERATIONS: Mapping[str, tuple[Operation, ...]] = {
    "github": (
        Operation(
            *(GITHUB, "repos/create-commit-status", "POST", "/repos/{owner}/{repo}/statuses/{sha}", frozenset({201})),
            body=STATUS_FIELDS,
            required=these("state"),
            states=these("error", "failure", "pending", "success"),
        ),
        Operation(
            *(GITHUB, "issues/list-comments", "GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
            *(frozenset({200}), frozenset({404, 410})),
            query=these("since", "per_page", "page"),
        ),
        Operation(
            *(GITHUB, "issues/create-comment", "POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
            *(frozenset({201}), frozenset({403, 404, 410, 422})),
            body=these("body"),
            required=these("body"),
        ),
        Operation(
            *(GITHUB, "issues/update-comment", "PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
            *(frozenset({200}), frozenset({422})),
            body=these("body"),
            required=these("body"),
        ),
    ),
    "gitea": (
        Operation(
            *(GITEA, "repoCreateStatus", "POST", "/repos/{owner}/{repo}/statuses/{sha}"),
            *(frozenset({201}), frozenset({400, 404})),
            body=STATUS_FIELDS,
            states=these("pending", "success", "error", "failure", "warning", "skipped"),
        ),
        Operation(  # it has no pages: all comments are in one answer
            *(GITEA, "issueGetComments", "GET", "/repos/{owner}/{repo}/issues/{index}/comments"),
            *(frozenset({200}), frozenset({404})),
            query=these("since", "before"),
        ),
        Operation(
            *(GITEA, "issueCreateComment", "POST", "/repos/{owner}/{repo}/issues/{index}/comments"),
            *(frozenset({201}), frozenset({403, 404, 423})),
            body=these("body"),
            required=these("body"),
        ),
        Operation(  # 204 has no body
            *(GITEA, "issueEditComment", "PATCH", "/repos/{owner}/{repo}/issues/comments/{id}"),
            *(frozenset({200, 204}), frozenset({403, 404, 423})),
            body=these("body"),
            required=these("body"),
        ),
    ),
    "gitlab": (
        Operation(
            *(GITLAB_STATUSES, "Post status to a commit", "POST", "/projects/{id}/statuses/{sha}"),
            *(frozenset({200, 201}), frozenset({400, 401, 403, 404, 409})),
            body=these("state", "ref", "target_url", "description", "name", "context", "coverage", "pipeline_id"),
            required=these("state"),
            states=these("pending", "running", "success", "failed", "canceled", "skipped"),
            limits={"target_url": 255, "description": 255},
        ),
        Operation(
            *(GITLAB_NOTES, "Get a list of merge request notes", "GET"),
            *("/projects/{id}/merge_requests/{noteable_id}/notes", frozenset({200})),
            query=these("order_by", "sort", "activity_filter", "page", "per_page"),
        ),
        Operation(
            *(GITLAB_NOTES, "Create a new merge request note", "POST"),
            *("/projects/{id}/merge_requests/{noteable_id}/notes", frozenset({201}), frozenset({429})),
            body=these("body", "confidential", "internal", "created_at", "merge_request_diff_head_sha"),
            required=these("body"),
        ),
        Operation(
            *(GITLAB_NOTES, "Update an existing merge request note", "PUT"),
            *("/projects/{id}/merge_requests/{noteable_id}/notes/{note_id}", frozenset({200})),
            body=these("body", "confidential"),
        ),
    ),
}
KINDS = tuple(OPERATIONS)
PASSING = {408, 409, 429}
"""Refusals that a forge means for the moment; see `test_a_refusal_is_final_unless_the_forge_means_for_now`."""


@pytest.fixture
def there() -> Iterator[ListeningForge]:
    with listening() as forge:
        yield forge


def forge_at(there: ListeningForge, kind: str) -> Forge:
    return forge_of(kind, Line(there.url, "planted-token"), "ann/shop")


def status(state: State) -> Status:
    return Status(COMMIT, state, "a sentence " * 40, "reconcile/shop", "https://deploy.example.org/shop")


def hold(kind: str, there: ListeningForge) -> list[str]:
    """Hold each request that came against the description; return what the operations are called there."""
    names = []
    for asked in there.asked:
        (operation,) = [found for found in OPERATIONS[kind] if found.describes(asked)]
        names.append(operation.name)
        assert {name for name, _ in parse_qsl(urlsplit(asked.path).query)} <= operation.query, asked.path
        body = asked.body if isinstance(asked.body, dict) else {}
        assert operation.required <= body.keys() <= operation.body, asked.body
        assert "state" not in body or body["state"] in operation.states
        for name, most in operation.limits.items():
            assert len(body.get(name, "")) <= most, name
    return names


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", State)
def test_each_status_is_one_that_the_forge_describes(there: ListeningForge, kind: str, state: State) -> None:
    operation = OPERATIONS[kind][0]
    for code in sorted(operation.answers):
        there.answers = [Answer(code, {"id": 1, "status": "pending"})]
        forge_at(there, kind).status(status(state))
    assert hold(kind, there) == [operation.name] * len(operation.answers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_comment_is_one_that_the_forge_describes(there: ListeningForge, kind: str) -> None:
    _, listed, created, _ = OPERATIONS[kind]
    pages = [Answer(200, [])] if kind != "gitlab" else [Answer(200, [{"id": 1, "body": "chatter"}]), Answer(200, [])]
    there.answers = [*pages, Answer(201, {"id": 2, "body": BODY})]
    forge_at(there, kind).comment(7, MARKER, BODY)
    assert hold(kind, there) == [listed.name] * len(pages) + [created.name]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_comment_is_one_that_the_forge_describes(there: ListeningForge, kind: str) -> None:
    _, listed, _, changed = OPERATIONS[kind]
    for code in sorted(changed.answers):
        answer = Answer(code, {"id": 42, "body": BODY}) if code != 204 else Answer(code, raw=b"")
        there.asked.clear()
        there.answers = [Answer(200, [{"id": 42, "body": f"{MARKER}\nold"}]), answer]
        forge_at(there, kind).comment(7, MARKER, BODY)
        assert hold(kind, there) == [listed.name, changed.name]


def test_a_page_of_gitlab_with_notes_left_out_is_not_taken_for_the_last(there: ListeningForge) -> None:
    """GitLab leaves out of a page what the caller may not see: it may be short though others follow.

    https://gitlab.com/gitlab-org/gitlab/-/blob/master/lib/api/notes.rb, at the list of notes
    """
    there.answers = [Answer(200, [{"id": 1, "body": "chatter"}]), Answer(200, [{"id": 42, "body": f"{MARKER}\nold"}])]
    forge_at(there, "gitlab").comment(7, MARKER, BODY)
    assert [(asked.method, asked.path) for asked in there.asked] == [
        ("GET", "/projects/ann%2Fshop/merge_requests/7/notes?per_page=100&page=1"),
        ("GET", "/projects/ann%2Fshop/merge_requests/7/notes?per_page=100&page=2"),
        ("PUT", "/projects/ann%2Fshop/merge_requests/7/notes/42"),
    ]


@pytest.mark.parametrize(
    ("kind", "code"),
    [(kind, code) for kind in KINDS for operation in OPERATIONS[kind] for code in sorted(operation.refusals)],
)
def test_a_refusal_is_final_unless_the_forge_means_for_now(there: ListeningForge, kind: str, code: int) -> None:
    there.answers = [Answer(code, {"message": "no"})]
    with pytest.raises(ForgeProblem) as caught:
        forge_at(there, kind).status(status(State.SUCCESS))
    assert (caught.value.after is None) == (code not in PASSING)


def test_two_updates_of_one_status_at_a_time_are_told_again(there: ListeningForge) -> None:
    """GitLab takes one update of the statuses of a commit at a time, and refuses the other after ten seconds.

    https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/services/ci/create_commit_status_service.rb
    """
    there.answers = [Answer(409, {"message": "Another update to this commit status is in progress"})]
    with pytest.raises(ForgeProblem) as caught:
        forge_at(there, "gitlab").status(status(State.SUCCESS))
    assert caught.value.message == (
        f"the forge at {there.url} fails (409: Another update to this commit status is in progress)"
    )
    assert caught.value.after == 0.0
