"""Scenarios as pages that people read: commits in YAML, then what `plan` and `apply` say to them.

A page is Markdown. Its fenced blocks are played from top to bottom:

* ```yaml shop.yaml``` writes a file of the next commit, ```yaml shop.yaml removed``` deletes it;
* ```console``` holds commands and, below each, what it prints; ```console incomplete``` plays them on a commit of
  which something could not be loaded;
* ```tasks``` says how queued tasks ended, as in `1 failed: exit code 3`; all others succeed;
* ```placement shop in staging``` says which machine each step would go to;
* ```enrolment``` makes tokens and lets agents enrol, each on the machine that `--state` names;
* ```schedule``` says, below each event, what the scheduler grants and why what waits does; pages go on block by block;
* ```progress shop in staging``` says, below its lines that begin with `given`, how a task goes.

Everything after a command or a `given` line is output, compared word for word and written again by `--rewrite`.
"""

import argparse
import re
import shlex
from collections.abc import Iterator

from reconciler.model.desired import DesiredState
from reconciler.model.infrastructure import ExecutionLocationSpec
from reconciler.model.live import StepState, TaskId, TaskState
from reconciler.model.organisation import TenantSpec
from reconciler.model.spec import Address
from reconciler.model.work import ProjectSpec
from reconciler.plan import markdown, text
from reconciler.plan.changes import Plan
from reconciler.plan.planner import plan
from reconciler.schedule.fleet import fleet_of
from reconciler.schedule.placement import Nowhere, choose_pool, location_of, place
from reconciler.schedule.progress import ConditionUnclear
from reconciler.schedule.selection import leaves_out
from reconciler.schedule.variables import VariableContext, pool_in_context
from reconciler.server.planning.choosing import options_of
from tests.scenarios.applying import EMPTY, applied, settled
from tests.scenarios.declaring import declare
from tests.scenarios.enrolling import enrolment
from tests.scenarios.playing import play
from tests.scenarios.scheduling import Paper

_BLOCK = re.compile(
    r"^(?P<fence>```+)(?P<kind>\w+)(?: (?P<about>[^\n]*))?\n(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL
)


class Story:
    """One page while it is played."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._live = EMPTY
        self._paper = Paper()
        self._ends: dict[TaskId, tuple[TaskState, str]] = {}

    def told(self, page: str) -> str:
        """Return the page with every output as it is now."""
        return _BLOCK.sub(self._played, page)

    def _played(self, block: re.Match[str]) -> str:
        kind, about, body = block["kind"], block["about"] or "", block["body"]
        match kind:
            case "yaml":
                self._commit(about, body)
            case "tasks":
                self._ends |= dict(_ends(body))
            case "console":
                body = "".join(self._commands(body, complete=about != "incomplete"))
            case "placement":
                body = "".join(f"{line}\n" for line in self._placement(about))
            case "enrolment":
                body = "".join(enrolment(body, self._live))
            case "schedule":
                body = "".join(f"{line}\n" for line in self._paper.play(body.splitlines()))
            case "progress":
                body = "".join(f"{line}\n" for line in self._progress(about, body))
            case _:
                raise AssertionError(f"a scenario has no block of the kind {kind}")
        head = f"{kind} {about}" if about else kind
        return f"{block['fence']}{head}\n{body}{block['fence']}"

    def _commit(self, about: str, body: str) -> None:
        name, _, removed = about.partition(" ")
        if removed:
            del self._files[name]
        else:
            self._files[name] = body

    def _commands(self, body: str, *, complete: bool) -> Iterator[str]:
        for command in re.findall(r"^\$ .*\n", body, re.MULTILINE):
            yield command
            yield from self._run(shlex.split(command[2:], comments=True), declare(self._files, complete=complete))

    def _run(self, words: list[str], desired: DesiredState) -> Iterator[str]:
        asked = _PARSER.parse_args(words[1:])
        options = options_of(
            tuple(asked.target), tuple(asked.exclude), asked.max_removals, retry_failed=asked.retry_failed
        )
        self._live = settled(self._live, self._ends)
        self._ends.clear()
        found = plan(desired, self._live, options)
        if asked.command == "plan":
            yield markdown.render(found) if asked.format == "markdown" else text.render(found)
            yield "[exit 5]\n" if found.refused else ""
        else:
            yield self._apply(found, desired, asked)

    def _apply(self, found: Plan, desired: DesiredState, asked: argparse.Namespace) -> str:
        if found.refusals or (found.refused and not found.isolated):
            return "(refused, and nothing was changed)\n"
        if found.new_state and not (asked.new_state or asked.adopt):
            return "(refused, because the live state is empty)\n"
        before, self._live = self._live, applied(found, desired, self._live, adopt=asked.adopt)
        done = sum(not change.refusal for change in found.changes)
        tasks = [task for task in self._live.last_tasks.values() if task not in before.last_tasks.values()]
        told = [f"{done} change{'s' if done != 1 else ''} carried out"]
        for task in sorted(tasks, key=lambda task: task.id):
            what = "adopted as done" if task.adopted else str(task.state)
            told.append(f"task {task.id} {what}: {task.slot} at {task.release}")
        return f"({'; '.join(told)})\n"

    def _placement(self, about: str) -> Iterator[str]:
        desired = declare(self._files)
        project, environment, tags, tenant = _slot(about, desired)
        spec = ProjectSpec.parse(desired.objects[Address("Project", project)].spec)
        fleet = fleet_of(desired.objects, desired.space)
        locations = {
            address.name: ExecutionLocationSpec.parse(item.spec)
            for address, item in desired.objects.items()
            if address.kind == "ExecutionLocation"
        }
        for step in spec.process:
            here = VariableContext(
                environment=environment, tenant=tenant, tenant_tags=tags, step=step.key, process=project
            )
            if step.action[0] == "manual":
                yield f"{step.name}: nowhere; a person answers"
                continue
            choice = choose_pool(
                location_of(step, locations),
                fleet,
                lambda name, here=here: pool_in_context(name, spec, desired.objects, here),
            )
            found = choice if isinstance(choice, Nowhere) else place(step, choice, fleet, environment)
            if isinstance(found, Nowhere):
                yield f"{step.name}: {'fails' if found.final else 'waits'}, since {found.reason}"
            else:
                yield f"{step.name}: on {found.worker}, since {found.because}"

    def _progress(self, about: str, body: str) -> Iterator[str]:
        desired = declare(self._files)
        project, environment, tags, _ = _slot(about, desired)
        spec = ProjectSpec.parse(desired.objects[Address("Project", project)].spec)
        given = [line for line in body.splitlines() if line.startswith("given ")]
        yield from given
        facts = dict(line.removeprefix("given ").split(": ", 1) for line in given)

        def evaluate(_: int, condition: str) -> bool:
            fact = facts[condition]
            if fact not in {"true", "false"}:
                raise ConditionUnclear(fact)
            return fact == "true"

        yield from play(
            spec.process,
            {name: _outcome(fact) for name, fact in facts.items() if not name.startswith("${{")},
            evaluate,
            left_out=lambda step: leaves_out(step, environment, tags, ()),
            parallel_max=spec.max_parallel_steps,
        )


def _ends(body: str) -> Iterator[tuple[TaskId, tuple[TaskState, str]]]:
    for line in body.splitlines():
        number, _, rest = line.partition(" ")
        state, _, reason = rest.partition(": ")
        yield TaskId(int(number)), (TaskState(state), reason)


def _outcome(fact: str) -> tuple[StepState, str]:
    state, _, reason = fact.partition(", ")
    return StepState(state), reason


def _slot(about: str, desired: DesiredState) -> tuple[str, str, tuple[str, ...], str | None]:
    """Read `shop in staging for acme`; returns project, environment, the tenant's tags, tenant."""
    found = re.fullmatch(r"(\S+) in (\S+)(?: for (\S+))?", about)
    assert found, f"a block names its slot as in `shop in staging`, not as {about!r}"
    project, environment, tenant = found.groups()
    tags = TenantSpec.parse(desired.objects[Address("Tenant", tenant)].spec).tags if tenant else ()
    return project, environment, tags, tenant


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reconcile", exit_on_error=False)
    parser.add_argument("command", choices=["plan", "apply"])
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--max-removals")
    parser.add_argument("--retry-failed", action="store_true")
    parser.add_argument("--format", choices=["text", "markdown"], default="text")
    parser.add_argument("--new-state", action="store_true")
    parser.add_argument("--adopt", action="store_true")
    return parser


_PARSER = _parser()
