"""The desk of who works from afar: everything is asked of a server."""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar
from urllib.parse import quote, urlencode

from pydantic import Field, TypeAdapter, ValidationError

from reconciler.api.paging import LIMIT_MAX, Page
from reconciler.cli.calling import Arriving, Caller
from reconciler.cli.commits_afar import commit_here, commit_of_server
from reconciler.cli.desk import Listing, LogWish, Telling
from reconciler.cli.options import Selection
from reconciler.cli.output import appearing
from reconciler.declare.render import printable
from reconciler.model.access import EVERY_SPACE
from reconciler.model.errors import Conflict, ReconcilerError, UsageMistake
from reconciler.model.following import SourceState
from reconciler.model.live import Event, StoredArtifact, Task, TaskState
from reconciler.plan.explanation import Explanation
from reconciler.server.answers.access import AccessRow
from reconciler.server.answers.commit_names import Standing
from reconciler.server.answers.log_walk import Entry
from reconciler.server.answers.overview import ObjectRow, Overview, WorkerRow
from reconciler.server.answers.trust import Trust
from reconciler.server.checkup.checkup import Named
from reconciler.server.checkup.findings import Finding
from reconciler.server.engine.control import Decided, Request
from reconciler.server.orders import orders
from reconciler.server.orders.decisions import Decision
from reconciler.server.orders.orders import AccessOrder, Answer
from reconciler.server.planning.explaining import Question
from reconciler.server.planning.rehearsing import RehearsalForm, ShownRehearsal, Wanted
from reconciler.server.planning.shown import Form, ShownPlan
from reconciler.server.state.archive import Manifest, NotWhole, read_stream
from reconciler.server.state.place import Place, place_of
from reconciler.server.trust.tokens import TokenRow
from reconciler.store.audit import ALL
from reconciler.store.audit import Selection as Selected
from reconciler.store.chain import Broken, Whole
from reconciler.store.exports import check_export

Thing = TypeVar("Thing")

BACKUP_WITHIN = 3_600.0
"""Seconds that a server may take to copy its database before the first of a backup comes."""

ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class _LogPage:
    items: list[Annotated[Entry, Field(discriminator="type")]]
    next: str | None


@dataclass(frozen=True, slots=True)
class _SpaceRow:
    name: str


@dataclass(frozen=True, slots=True)
class _Reasons:
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Explained:
    explanation: Explanation


@dataclass(slots=True)
class RemoteDesk:
    """Commands at a space of a server; its only one where none is named."""

    caller: Caller
    space: str | None
    lasting: bool = False
    """Does the environment name the server, so that what needs a repository takes the one here?"""

    @property
    def place(self) -> Place:
        """Return where the repository is; raises UsageMistake where a command is only for the server, and for none here."""
        if not self.lasting:
            raise UsageMistake("this works in a repository, and --server names none", "leave --server away")
        found = place_of(None, None, None)
        if not any((found.root / name).exists() for name in ("reconcile.yaml", ".git")):
            raise UsageMistake(f"this works in a repository, and {found.root} is in none", "run it in a checkout")
        return found

    def overview(self) -> Overview:
        """Return how all stands."""
        return self._get(Overview, "/status")

    def objects(self, kind: str) -> Sequence[ObjectRow]:
        """Return the live objects of a kind by name."""
        return self._all(ObjectRow, f"/objects/{kind}")

    def workers(self) -> Sequence[WorkerRow]:
        """Return the workers, the built-in one first."""
        return self._all(WorkerRow, "/workers")

    def tasks(self, limit: int, states: Collection[TaskState]) -> Sequence[Task]:
        """Return the newest tasks."""
        query = urlencode([("state", state.value) for state in states])
        return self._all(Task, f"/tasks?{query}" if query else "/tasks", limit)

    def events(self, listing: Listing) -> Sequence[Event]:
        """Return events, the oldest first."""
        query = {"after": listing.after, "limit": listing.limit, **asdict(listing.selection)}
        return self._get(Page[Event], "/events", **query).items

    def exported(self, selection: Selected) -> Iterator[str]:
        """Yield the lines of an export of the audit; raises Conflict where not all of them come."""
        return self.caller.lines(f"{self._within}/events/export", **asdict(selection))

    def checked(self) -> Whole | Broken:
        """Return whether the whole audit is as it was recorded, from what the server exports."""
        return check_export(f"{line}\n".encode() for line in self.exported(ALL)).found

    def reasons(self, address: str) -> Sequence[str]:
        """Return sentences about something."""
        return self._get(_Reasons, "/why", address=address).sentences

    def explanation(self, question: Question) -> Explanation:
        """Return where a step of the source's head would run."""
        return self._get(_Explained, "/explain", **asdict(question)).explanation

    def plan(self, selection: Selection, form: Form, *, save: bool) -> ShownPlan:
        """Have the source's head planned, or a commit that the server has."""
        options = selection.options
        body = {
            "commit": commit_of_server(selection.rev) if selection.rev is not None else None,
            "targets": list(map(str, options.targets)),
            "excludes": list(map(str, options.excludes)),
            "removals_max": options.removals_max,
            "retry_failed": options.retry_failed,
            "form": form.value,
            "save": save,
        }
        return self._post(ShownPlan, "/plan", body)

    def rehearsal(self, wanted: Wanted, form: RehearsalForm) -> ShownRehearsal:
        """Have the source's head rehearsed."""
        body = {
            "seed": wanted.seeds[0],
            "repeat": len(wanted.seeds),
            "everything": wanted.everything,
            "workers": wanted.workers,
            "durations": wanted.durations,
            "default": wanted.default,
            "failing": wanted.failing,
            "form": form.value,
        }
        return self._post(ShownRehearsal, "/rehearsal", body)

    def waiting_plan(self, name: str, form: Form) -> ShownPlan:
        """Return a plan that waits for a person, as the controller has made it."""
        return self._get(ShownPlan, f"/plans/{_part(name)}/changes", form=form.value)

    def snapshot(self) -> str:
        """Return the live state, redacted and signed."""
        return self.caller.get(f"{self._within}/snapshot").decode()

    def snapshot_keys(self) -> str:
        """Return the public keys that snapshots are signed with."""
        return self.caller.get(f"{self._within}/snapshot/keys").decode()

    def drift(self, form: Form) -> ShownPlan:
        """Return what was changed behind Git's back."""
        return self._get(ShownPlan, "/drift", form=form.value)

    def standing(self, commit: str) -> Standing:
        """Return where a commit stands."""
        return self._get(Standing, f"/commits/{commit_here(commit)}/standing")

    def followed_head(self, *, as_it_is: bool, repeats: bool) -> str | None:
        """Have the source looked at now, and return its head."""
        if repeats:
            raise UsageMistake(
                "a server carries out the head of its source, and repeats one task by its number",
                "repeat it with: reconcile retry TASK; `reconcile status` names it, and says where that does not help",
            )
        if not as_it_is:
            raise UsageMistake(
                "a server carries out the head of its source as it is",
                "leave the plan file and the options that choose away; only beside a state that no server holds they work",
            )
        found = self._post(SourceState, "/look", {})
        if found.failed_since is not None:
            raise ReconcilerError(f"the source cannot be read: {found.problem}", "see: reconcile status")
        return found.head

    def source(self) -> SourceState | None:
        """Return what the server follows."""
        return self.overview().source

    def log(self, wish: LogWish, tell: Telling) -> Iterator[Entry]:
        """Yield what a log holds, with `follow` until the task has ended."""
        del tell  # a server's engine runs
        path = f"/tasks/{_part(wish.task)}/log"
        if wish.follow:
            query = f"?{urlencode({'step': wish.step})}" if wish.step is not None else ""
            for message in self.caller.stream(f"{self._within}{path}/stream{query}"):
                yield ENTRY.validate_json(message.data)
            return
        after: str | None = ""
        while after is not None:
            page = self._get(_LogPage, path, step=wish.step, after=after)
            yield from page.items
            after = page.next if page.items else None

    def artifacts(self, task: str) -> Sequence[StoredArtifact]:
        """Return the files that a task left."""
        return self._get(Page[StoredArtifact], f"/tasks/{_part(task)}/artifacts").items

    def copy_artifact(self, artifact: StoredArtifact, target: Path) -> None:
        """Write the content of one to a file; raises Conflict where it comes otherwise than it was left."""
        with appearing(target) as file:
            path = f"{self._within}/tasks/{artifact.task}/artifacts/{artifact.digest}"
            if self.caller.copy(path, file) != artifact.digest:
                raise Conflict(f"{self.caller.url} has not sent the whole file", "run the command again")

    def tokens(self) -> Sequence[TokenRow]:
        """Return the enrolment tokens, the newest first."""
        return self._all(TokenRow, "/tokens")

    def access(self) -> Sequence[AccessRow]:
        """Return the tokens of the API that the space keeps, or every space, by name."""
        if self.space == EVERY_SPACE:
            return sorted((row for desk in self._each() for row in desk.access()), key=lambda row: row.name)
        return self._all(AccessRow, "/access")

    def trust(self) -> Trust:
        """Return the installation's own keys, and what is revoked."""
        return self._get(Trust, "/trust")

    def findings(self, named: Named, now: float) -> Iterable[Finding]:
        """Return what the server finds when it checks itself; raises UsageMistake where something is named."""
        del now  # the server has a clock
        if named != Named():
            raise UsageMistake(
                "--config, --agents and --http are for a check beside the state, and a server checks what it runs with",
                "leave them away",
            )
        return self._get(Page[Finding], "/checkup").items

    def back_up(self, out: BinaryIO, *, with_key: bool) -> Manifest:
        """Write the state as it is now to `out`; raises Conflict where not all of it comes as it was sent."""
        if with_key:
            raise UsageMistake(
                "a server never sends its key",
                "leave --with-key away, and keep a copy of the file `key` of the server's state elsewhere",
            )
        arriving = Arriving(self.caller.parts(f"{self._within}/backup", BACKUP_WITHIN), out)
        try:
            found = read_stream(arriving, self.caller.url)
        except NotWhole:
            raise Conflict(f"{self.caller.url} has not sent the whole backup", "run the command again") from None
        arriving.rest()
        return found

    def decide(self, request: Request) -> Decided:
        """Have a request carried out; whoever the token names has made it."""
        if self.space == EVERY_SPACE and isinstance(request, AccessOrder):
            return self._keeper(request).decide(request)
        path, body = _addressed(request)
        return Decided(self._post(Answer, path, body, key=uuid.uuid4().hex), by_engine=True)

    @property
    def _within(self) -> str:
        if self.space is None:
            names = self._spaces()
            if len(names) > 1:
                raise UsageMistake(f"{self.caller.url} has several spaces: {', '.join(names)}", "name one with --space")
            self.space = names[0]
        if self.space == EVERY_SPACE:
            raise UsageMistake(
                "this works in one space, and * is every one", f"name one of: {', '.join(self._spaces())}"
            )
        return f"/spaces/{_part(self.space)}"

    def _spaces(self) -> list[str]:
        """Return the names of the spaces that the token has a role in."""
        found = _read(Page[_SpaceRow], self.caller.get("/spaces"), self.caller.url).items
        return sorted(space.name for space in found)

    def _each(self) -> "Iterator[RemoteDesk]":
        """Yield the desk of each space, where this one is that of every space; else this one."""
        if self.space == EVERY_SPACE:
            yield from (RemoteDesk(self.caller, name) for name in self._spaces())
        else:
            yield self

    def _keeper(self, request: Request) -> "RemoteDesk":
        """Return the desk of the space that keeps the token of the API which a request is about: a new one, the first."""
        first, *others = self._each()
        if isinstance(request, orders.RevokeAccess):
            for desk in (first, *others) if others else ():
                if any(row.name == request.name and row.state == "open" for row in desk.access()):
                    return desk
        return first

    def _get(self, kind: type[Thing], path: str, **query: object) -> Thing:
        return _read(kind, self.caller.get(f"{self._within}{path}", **query), self.caller.url)

    def _post(self, kind: type[Thing], path: str, body: Mapping[str, object], *, key: str | None = None) -> Thing:
        return _read(kind, self.caller.post(f"{self._within}{path}", body, key), self.caller.url)

    def _all(self, kind: type[Thing], path: str, most: int = 10**9) -> list[Thing]:
        """Return a list from all its pages, as many of it as are wanted."""
        found: list[Thing] = []
        after: str | None = None
        while True:
            limit = min(LIMIT_MAX, most - len(found))
            more = urlencode([("limit", limit), *([("after", after)] if after is not None else [])])
            page = self._get(Page[kind], f"{path}{'&' if '?' in path else '?'}{more}")  # type: ignore[valid-type]  # pydantic makes the type
            found += page.items
            after = page.next
            if after is None or len(found) >= most:
                return found


def _addressed(request: Request) -> tuple[str, dict[str, object]]:
    """Return where a request goes, and its body."""
    match request:
        case Decision(verb, task, _, notes, step):
            body: dict[str, object] = {"notes": notes}
            return f"/tasks/{_part(task)}/{verb}", body | ({"step": step} if step else {})
        case orders.DecidePlan(_, plan, verb, notes):
            return f"/plans/{_part(plan)}/{verb}", {"notes": notes}
        case orders.Drain(_, worker, reason, seconds):
            return f"/workers/{_part(worker)}/drain", {"reason": reason, "seconds": seconds}
        case orders.Undrain(_, worker):
            return f"/workers/{_part(worker)}/undrain", {}
        case orders.Release(_, whom, reason):
            return "/releases", {"whom": whom, "reason": reason}
        case orders.Suspend(_, reason, seconds):
            return "/suspend", {"reason": reason, "seconds": seconds}
        case orders.Resume():
            return "/resume", {}
        case _:
            return _addressed_about_trust(request)


def _addressed_about_trust(request: Request) -> tuple[str, dict[str, object]]:
    match request:
        case orders.CreateToken(_, worker, pools, ttl, replace):
            return "/tokens", {"worker": worker, "pools": list(pools), "seconds": ttl, "replace": replace}
        case orders.RevokeToken(_, token):
            return f"/tokens/{_part(token)}/revoke", {}
        case orders.Revoke(_, whom, reason):
            return "/revocations", {"whom": whom, "reason": reason}
        case orders.Lift(_, whom):
            return "/revocations/lift", {"whom": whom}
        case orders.Stage(_, purpose):
            return f"/trust/{purpose}/stage", {}
        case orders.Switch(_, purpose, forced):
            return f"/trust/{purpose}/switch", {"force": forced}
        case orders.Retire(_, purpose, forced):
            return f"/trust/{purpose}/retire", {"force": forced}
        case orders.CreateAccess(_, name, roles, space, ttl):
            body = {"name": name, "roles": list(roles), "seconds": ttl, "every_space": space == EVERY_SPACE}
            return "/access", body
        case orders.RevokeAccess(_, name):
            return f"/access/{_part(name)}/revoke", {}
        case _:
            raise AssertionError(f"no command orders {type(request).__name__} from afar")


def _read(kind: type[Thing], text: bytes, url: str) -> Thing:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError:
        raise ReconcilerError(
            f"the answer of {url} is not understood", "use a reconcile of the same version as the server's"
        ) from None


def _part(text: str) -> str:
    """Return a name as one part of a path; raises UsageMistake where nothing can be called so."""
    if not text or "/" in text or not text.isprintable():
        raise UsageMistake(f'nothing is called "{printable(text)}"', "a name is not empty, and has no slash")
    return quote(text, safe="@")
