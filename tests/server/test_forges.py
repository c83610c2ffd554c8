"""What is said to forges, request by request as their documentation has it, and what comes of what they answer."""

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from reconciler.server.forge.forges import DESCRIPTION_MAX, PER_PAGE, Forge, State, Status, forge_of
from reconciler.server.forge.line import ForgeProblem, Line
from tests.server.listening_forge import Answer, ListeningForge, listening

TOKEN = "planted-token"
COMMIT = "4f1c2d0" + "0" * 33
MARKER = "<!-- reconciler plan: shop -->"
BODY = f"{MARKER}\n### Plan: 1 to add, 0 to change, 0 to remove.\n"
REPOSITORY = "ann/shop"

KINDS = ("github", "gitlab", "gitea")
HEADERS = {
    "github": {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {TOKEN}",
        "X-Github-Api-Version": "2022-11-28",
    },
    "gitlab": {"Accept": "application/json", "Private-Token": TOKEN},
    "gitea": {"Accept": "application/json", "Authorization": f"token {TOKEN}"},
}
STATUSES = {
    "github": f"/repos/ann/shop/statuses/{COMMIT}",
    "gitlab": f"/projects/ann%2Fshop/statuses/{COMMIT}",
    "gitea": f"/repos/ann/shop/statuses/{COMMIT}",
}
STATES = {
    "github": {"pending": "pending", "success": "success", "failure": "failure", "superseded": "error"},
    "gitlab": {"pending": "pending", "success": "success", "failure": "failed", "superseded": "canceled"},
    "gitea": {"pending": "pending", "success": "success", "failure": "failure", "superseded": "warning"},
}
COMMENTS = {
    "github": "/repos/ann/shop/issues/7/comments",
    "gitlab": "/projects/ann%2Fshop/merge_requests/7/notes",
    "gitea": "/repos/ann/shop/issues/7/comments",
}
CHANGES = {
    "github": ("PATCH", "/repos/ann/shop/issues/comments/42"),
    "gitlab": ("PUT", "/projects/ann%2Fshop/merge_requests/7/notes/42"),
    "gitea": ("PATCH", "/repos/ann/shop/issues/comments/42"),
}
FIRST_PAGE = {"github": "?per_page=100&page=1", "gitlab": "?per_page=100&page=1", "gitea": ""}


@pytest.fixture
def there() -> Iterator[ListeningForge]:
    with listening() as forge:
        yield forge


def forge_at(there: ListeningForge, kind: str) -> Forge:
    return forge_of(kind, Line(there.url, TOKEN), REPOSITORY)


def status(
    state: State = State.SUCCESS, description: str = "as declared", url: str = "https://deploy.example.org"
) -> Status:
    return Status(COMMIT, state, description, "reconcile/shop", url)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", State)
def test_a_status_is_told(there: ListeningForge, kind: str, state: State) -> None:
    forge_at(there, kind).status(status(state))
    (asked,) = there.asked
    assert (asked.method, asked.path) == ("POST", STATUSES[kind])
    assert asked.body == {
        "state": STATES[kind][state.value],
        "name" if kind == "gitlab" else "context": "reconcile/shop",
        "description": "as declared",
        "target_url": "https://deploy.example.org",
    }
    headers = {name.title(): value for name, value in asked.headers.items()}
    assert HEADERS[kind].items() <= headers.items()
    assert (headers["Content-Type"], headers["User-Agent"]) == ("application/json", "reconcile")


def test_a_long_description_is_cut_and_one_without_an_address_has_none(there: ListeningForge) -> None:
    forge_at(there, "github").status(status(description="a\nb" * 100, url=""))
    body = there.asked[0].body
    assert isinstance(body, dict)
    assert len(body["description"]) == DESCRIPTION_MAX
    assert body["description"].startswith("a ba b")
    assert body["description"].endswith("…")
    assert "target_url" not in body


def test_gitlab_refuses_a_status_that_a_commit_has_and_that_is_fine(there: ListeningForge) -> None:
    refusal = 'Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via "enqueue")'
    there.answers = [Answer(400, {"message": refusal}), Answer(400, {"message": "state does not have a valid value"})]
    forge_at(there, "gitlab").status(status(State.PENDING))
    with pytest.raises(ForgeProblem, match="does not have a valid value"):
        forge_at(there, "gitlab").status(status(State.PENDING))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_plan_is_a_new_comment(there: ListeningForge, kind: str) -> None:
    there.answers = [Answer(200, [{"id": 41, "body": f"I like {MARKER}"}])]
    forge_at(there, kind).comment(7, MARKER, BODY)
    more = [("GET", f"{COMMENTS[kind]}?per_page=100&page=2", None)] if kind == "gitlab" else []
    assert there.said == [
        ("GET", COMMENTS[kind] + FIRST_PAGE[kind], None),
        *more,
        ("POST", COMMENTS[kind], {"body": BODY}),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_plan_takes_its_place(there: ListeningForge, kind: str) -> None:
    there.answers = [Answer(200, [{"id": 41, "body": "hello"}, {"id": 42, "body": f"{MARKER}\r\n### Plan: old"}])]
    forge_at(there, kind).comment(7, MARKER, BODY)
    assert there.said[1:] == [(*CHANGES[kind], {"body": BODY})]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_plan_is_not_written_again(there: ListeningForge, kind: str) -> None:
    there.answers = [Answer(200, [{"id": 42, "body": BODY.replace("\n", "\r\n")}])]
    forge_at(there, kind).comment(7, MARKER, BODY)
    assert len(there.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_comment_that_somebody_else_wrote_is_left_alone(there: ListeningForge, kind: str) -> None:
    there.answers = [Answer(200, [{"id": 42, "body": f"{MARKER}\nmine"}]), Answer(403, {"message": "Forbidden"})]
    forge_at(there, kind).comment(7, MARKER, BODY)
    assert there.said[-1] == ("POST", COMMENTS[kind], {"body": BODY})


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_a_comment_is_found_on_a_later_page(there: ListeningForge, kind: str) -> None:
    there.answers = [
        Answer(200, [{"id": number, "body": "chatter"} for number in range(100, 100 + PER_PAGE)]),
        Answer(200, [{"id": 42, "body": f"{MARKER}\nold"}]),
    ]
    forge_at(there, kind).comment(7, MARKER, BODY)
    assert [path for _, path, _ in there.said] == [
        f"{COMMENTS[kind]}?per_page=100&page=1",
        f"{COMMENTS[kind]}?per_page=100&page=2",
        CHANGES[kind][1],
    ]


@pytest.mark.parametrize(
    ("answer", "message", "hint", "after"),
    [
        (Answer(401, {"message": "Bad credentials"}), "refuses (401: Bad credentials)", "give it a token that is valid", None),
        (
            Answer(403, {"message": "Resource not accessible by integration"}),
            "refuses (403: Resource not accessible by integration)",
            "give it a token that may do this",
            None,
        ),
        (
            Answer(404, {"message": "Not Found"}),
            "refuses (404: Not Found)",
            "the repository, the commit or the pull request is not there, or the token may not see it",
            None,
        ),
        (Answer(422, {"message": f"No commit found for SHA: {COMMIT}"}), f"refuses (422: No commit found for SHA: {COMMIT})", "", None),
        (Answer(400, {"message": {"ref": ["is invalid"]}}), 'refuses (400: {"ref": ["is invalid"]})', "", None),
        (Answer(302, None, {"Location": "http://elsewhere.invalid/"}), "refuses (302)", "", None),
        (Answer(429, {"message": "slow down"}, {"Retry-After": "17"}), "has had enough for now (429: slow down)", "", 17.0),
        (Answer(403, {"message": "secondary"}, {"Retry-After": "60"}), "has had enough for now (403: secondary)", "", 60.0),
        (Answer(500, raw=b"<html>oops</html>"), "fails (500)", "", 0.0),
        (Answer(503, {"error": "down"}, {"Retry-After": "5"}), "fails (503: down)", "", 5.0),
        (Answer(401, {"message": f"bad {TOKEN}\x1b[31m"}), "refuses (401: bad ***[31m)", "give it a token that is valid", None),
    ],
)  # fmt: skip
def test_what_a_forge_does_not_do_is_a_sentence(
    there: ListeningForge, answer: Answer, message: str, hint: str, after: float | None
) -> None:
    there.answers = [answer]
    with pytest.raises(ForgeProblem) as caught:
        forge_at(there, "github").status(status())
    assert caught.value.message == f"the forge at {there.url} {message}"
    assert (caught.value.hint, caught.value.after) == (hint, after)
    assert TOKEN not in repr(caught.value)
    assert len(there.asked) == 1  # a redirection is not followed: the token is not for others


def test_an_exhausted_quota_says_when_it_is_whole_again(there: ListeningForge) -> None:
    reset = str(int(time.time()) + 100)
    there.answers = [Answer(403, {"message": "quota"}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})]
    with pytest.raises(ForgeProblem) as caught:
        forge_at(there, "github").status(status())
    assert caught.value.after is not None
    assert 90 < caught.value.after <= 100


def test_an_answer_that_is_no_json_and_a_port_where_nobody_listens_may_pass(there: ListeningForge) -> None:
    there.answers = [Answer(200, raw=b"<html>")]
    with pytest.raises(ForgeProblem, match="answers with something else than JSON") as caught:
        forge_at(there, "gitea").comment(7, MARKER, BODY)
    assert caught.value.after == 0.0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ForgeProblem, match="cannot be reached: Connection refused") as caught:
            forge_of("gitea", Line(url, TOKEN), REPOSITORY).status(status())
    assert caught.value.after == 0.0


def test_a_forge_that_does_not_answer_is_given_up(there: ListeningForge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.server.forge.line.WITHIN", 0.1)
    there.held = Event()
    with pytest.raises(ForgeProblem, match="cannot be reached: timed out") as caught:
        forge_at(there, "github").status(status())
    assert caught.value.after == 0.0


def test_over_tls_a_forge_is_told_whose_certificate_is_trusted_and_no_other(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=forge", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*made, *named], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with listening(tls) as there:
        forge_of("gitea", Line(there.url, TOKEN, str(certificate)), REPOSITORY).status(status())
        with pytest.raises(ForgeProblem, match=r"cannot be reached: .*certificate verify failed"):
            forge_of("gitea", Line(there.url, TOKEN), REPOSITORY).status(status())
        assert len(there.asked) == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://forge.example.org", "to http://forge.example.org the token would go in clear; write https://"),
        ("forge.example.org", "forge.example.org is no address of an API, such as https://forge.example.org/api/v1"),
        ("https://a:b@forge.example.org", "is no address of an API"),
    ],
)
def test_the_token_is_not_sent_in_clear(url: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        Line(url, TOKEN)
    assert sentence in str(caught.value)
    assert TOKEN not in repr(Line("https://forge.example.org", TOKEN))
