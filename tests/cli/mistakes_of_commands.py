"""The mistakes of people on the command line, one case for each sentence that answers them."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.server.engine.control import LINE_BYTES_MAX, decide
from reconciler.server.orders.decisions import Decision, carry_out_decision
from reconciler.server.state.place import Place
from reconciler.store.directory import DataDirectory
from tests.cli.said import Said, applied, cases, failed, raised, shop, told, waiting
from tests.cli.workplace import ENVIRONMENT, POOL, PROJECT, RECONCILE, Outcome, Workplace, reconcile


def both_new_and_adopted(folder: Path) -> Said:
    return told(shop(folder).run("apply", "--new-state", "--adopt"))


def no_terminal(folder: Path) -> Said:
    return told(shop(folder).run("apply"))


def a_stale_plan(folder: Path) -> Said:
    place = shop(folder)
    place.run("plan", "--out", folder / "p.json").expect(0)
    place.release("2")
    place.commit()
    place.write("environment.yaml", ENVIRONMENT % "test" + "---\n" + ENVIRONMENT % "more")
    place.apply()
    return told(place.run("apply", folder / "p.json"))


def a_plan_with_options(folder: Path) -> Said:
    place = shop(folder)
    place.run("plan", "--out", folder / "p.json").expect(0)
    return told(place.run("apply", "--rev", "HEAD", folder / "p.json"))


def a_plan_applied_twice(folder: Path) -> Said:
    place = shop(folder)
    place.run("plan", "--out", folder / "p.json").expect(0)
    place.run("apply", "--new-state", folder / "p.json").expect(0)
    return told(place.run("apply", folder / "p.json"))


def no_plan(folder: Path) -> Said:
    (folder / "p.json").write_text("{}")
    return told(shop(folder).run("apply", folder / "p.json"))


def a_damaged_plan(folder: Path) -> Said:
    place = shop(folder)
    place.run("plan", "--out", folder / "p.json").expect(0)
    (folder / "p.json").write_text((folder / "p.json").read_text().replace("shop-test", "shop-live"))
    return told(place.run("apply", folder / "p.json"))


def a_plan_of_another_version(folder: Path) -> Said:
    place = shop(folder)
    place.run("plan", "--out", folder / "p.json").expect(0)
    (folder / "p.json").write_text((folder / "p.json").read_text().replace('"version": 1', '"version": 9'))
    return told(place.run("apply", folder / "p.json"))


def interrupted_while_planning(folder: Path) -> Said:
    """Let a git that has its parent interrupted stand for a person who does."""
    git = folder / "bin" / "git"
    git.parent.mkdir()
    git.write_text("#!/bin/sh\nkill -TERM $PPID\nexec sleep 60\n")
    git.chmod(0o755)
    place = shop(folder)
    return told(place.process("apply", "--auto-approve", PATH=f"{git.parent}:{os.environ['PATH']}"))


def interrupted_while_a_step_runs(folder: Path) -> Said:
    place = shop(folder, "kill -TERM $(cat engine); sleep 0.5")
    script = f"echo $$ > engine; exec {RECONCILE} apply --auto-approve --new-state"
    project = (place.root / "project.yaml").read_text()
    place.write("project.yaml", project.replace("cat engine", f"cat {place.root}/engine"))
    place.write("start.sh", script)
    said = told(bash(place, "start.sh"))
    place.apply()
    return said


def bash(place: Workplace, script: str) -> Outcome:
    import subprocess

    done = subprocess.run(["bash", script], cwd=place.root, capture_output=True, text=True, check=False, timeout=60)
    return Outcome(done.returncode, done.stdout, done.stderr)


def nobody_reads(folder: Path) -> Said:
    place = shop(folder)
    place.write("start.sh", f"set -o pipefail; {RECONCILE} apply --auto-approve --new-state | true")
    return told(bash(place, "start.sh"))


def no_such_kind(folder: Path) -> Said:
    return told(reconcile("schema", "Wroker"))


def no_such_object(folder: Path) -> Said:
    return told(applied(folder).run("get", "project", "shap"))


def no_such_artifact(folder: Path) -> Said:
    return told(applied(folder).run("artifacts", "1", "log.txt"))


def no_such_step_to_read(folder: Path) -> Said:
    return told(applied(folder).run("logs", "1", "--step", "Wark"))


def init_over_files(folder: Path) -> Said:
    reconcile("init", folder / "new").expect(0)
    return told(reconcile("init", folder / "new"))


def a_path_elsewhere(folder: Path) -> Said:
    return told(shop(folder).run("validate", folder / "elsewhere.yaml"))


def no_budget(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--max-removals", "many"))


def no_address(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--target", "shop"))


def an_address_of_nothing(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--target", "Project/shap"))


def invalid_declarations(folder: Path) -> Said:
    place = shop(folder)
    place.write("bad.yaml", "apiVersion: reconciler/v1\nkind: Nothing\n")
    return told(place.run("plan"))


def another_space_than_named(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--space", "other"))


def files_without_database(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--files", folder))


def no_such_directory(folder: Path) -> Said:
    return told(reconcile("plan", "-C", folder / "missing"))


def a_directory_that_is_gone(folder: Path) -> Said:
    place = shop(folder)
    place.write("start.sh", f"mkdir gone; cd gone; rmdir ../gone; exec {RECONCILE} plan")
    return told(bash(place, "start.sh"))


def a_password_in_the_arguments(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--data", "postgresql://ada:secret@host/db", "--files", folder))


def a_database_without_files(folder: Path) -> Said:
    return told(shop(folder).run("plan", "--data", "postgresql://host/db"))


def why_of_nothing(folder: Path) -> Said:
    return told(applied(folder).run("why", "Project/shap"))


def why_of_no_name(folder: Path) -> Said:
    return told(applied(folder).run("why", "shop-tst"))


def why_of_a_name_that_several_have(folder: Path) -> Said:
    place = shop(folder)
    place.write("environment.yaml", ENVIRONMENT % "test" + "---\n" + POOL % "shop")
    place.apply()
    return told(place.run("why", "shop"))


def why_of_no_plan(folder: Path) -> Said:
    return told(applied(folder).run("why", "plan-0123456789ab"))


def why_of_a_step_of_no_project(folder: Path) -> Said:
    return told(applied(folder).run("why", "Environment/test/Work"))


def why_of_no_step(folder: Path) -> Said:
    return told(applied(folder).run("why", "Project/shop/Wark"))


TWO_STEPS_OF_ONE_NAME = """\
    - {name: Look, id: before, script: {syntax: sh, body: look}}
    - {name: Look, id: after, script: {syntax: sh, body: look}}
"""


def explain(folder: Path, *arguments: str) -> Said:
    place = shop(folder)
    place.write("till.yaml", PROJECT % ("till", "echo done") + TWO_STEPS_OF_ONE_NAME)
    return told(place.run("explain", *arguments))


def explain_no_step(folder: Path) -> Said:
    return explain(folder, "Wark", "--environment", "test")


def explain_no_step_of_a_project(folder: Path) -> Said:
    return explain(folder, "shop/Wark", "--environment", "test")


def explain_a_step_of_no_project(folder: Path) -> Said:
    return explain(folder, "Work", "--project", "shap", "--environment", "test")


def explain_a_step_of_two_projects(folder: Path) -> Said:
    return explain(folder, "Work", "--environment", "test")


def explain_one_of_two_steps(folder: Path) -> Said:
    return explain(folder, "till/Look", "--environment", "test")


def explain_a_step_of_a_project_and_a_project(folder: Path) -> Said:
    return explain(folder, "till/before", "--project", "shop", "--environment", "test")


def explain_in_no_environment(folder: Path) -> Said:
    return explain(folder, "shop/Work", "--environment", "tets")


def explain_for_no_tenant(folder: Path) -> Said:
    return explain(folder, "shop/Work", "--environment", "test", "--tenant", "acme")


def rehearse(folder: Path, *arguments: str) -> Said:
    return told(shop(folder).run("rehearse", *arguments))


def rehearse_on_no_pool(folder: Path) -> Said:
    place = shop(folder)
    place.write("pool.yaml", POOL % "web")
    return told(place.run("rehearse", "--workers", "wbe=+1"))


def rehearse_without_workers_to_lose(folder: Path) -> Said:
    return rehearse(folder, "--workers", "default=-2")


def rehearse_on_a_dynamic_pool(folder: Path) -> Said:
    place = shop(folder)
    place.write("pool.yaml", (POOL % "cloud").replace("spec: {}", "spec: {dynamic: {provider: {command: {}}}}"))
    return told(place.run("rehearse", "--workers", "cloud=+2"))


def rehearse_with_no_number_of_workers(folder: Path) -> Said:
    return rehearse(folder, "--workers", "default=many")


def rehearse_with_a_step_and_no_time(folder: Path) -> Said:
    return rehearse(folder, "--duration", "Work")


def rehearse_with_a_time_that_is_none(folder: Path) -> Said:
    return rehearse(folder, "--duration", "Work=10")


def rehearse_with_a_default_time_that_is_none(folder: Path) -> Said:
    return rehearse(folder, "--default-duration", "soon")


def rehearse_with_times_the_wrong_way_round(folder: Path) -> Said:
    return rehearse(folder, "--duration", "Work=20s..10s")


def rehearse_with_no_such_step(folder: Path) -> Said:
    return rehearse(folder, "--duration", "Wark=10s")


def rehearse_with_no_such_step_of_a_project(folder: Path) -> Said:
    return rehearse(folder, "--fail", "shop/Wark")


def rehearse_with_a_step_of_no_project(folder: Path) -> Said:
    return rehearse(folder, "--fail", "shap/Work")


def no_state(folder: Path) -> Said:
    return told(shop(folder).run("status"))


def the_states_of_several_spaces(folder: Path) -> Said:
    place = applied(folder)
    (folder / "all").mkdir()
    place.data.rename(folder / "all" / "shop")
    return told(place.run("status", "--data", folder / "all"))


def a_refused_change(folder: Path) -> Said:
    place = shop(folder)
    place.write("more.yaml", (ENVIRONMENT % "more").replace("{name: more}", "{name: more, protect: true}"))
    place.apply()
    (place.root / "more.yaml").unlink()
    return told(place.run("apply", "--auto-approve"))


def a_new_state(folder: Path) -> Said:
    return told(shop(folder).run("apply", "--auto-approve"))


def a_number_that_no_task_will_have(folder: Path) -> Said:
    return told(applied(folder).run("logs", "9" * 20))


def a_task_in_other_digits(folder: Path) -> Said:
    return told(applied(folder).run("cancel", "١"))


def no_such_task(folder: Path) -> Said:
    return told(applied(folder).run("logs", "7"))


def no_task_of_a_deployment(folder: Path) -> Said:
    return told(applied(folder).run("logs", "shop-live"))


def a_task_for_each_tenant(folder: Path) -> Said:
    place = shop(folder)
    for name in ("acme", "zeta"):
        text = "apiVersion: reconciler/v1\nkind: Tenant\nmetadata: {name: %s}\nspec: {projects: {shop: [test]}}\n"
        place.write(f"{name}.yaml", text % name)
    deployment = (place.root / "deployment.yaml").read_text()
    place.write("deployment.yaml", deployment.replace("project: shop,", "project: shop, tenants: [acme, zeta],"))
    place.apply()
    return told(place.run("logs", "shop-test"))


def approved_twice(folder: Path) -> Said:
    place = waiting(folder)
    place.run("approve", "1").expect(0)
    return told(place.run("approve", "1"))


def nothing_to_approve(folder: Path) -> Said:
    return told(applied(folder).run("approve", "1"))


def nothing_to_cancel(folder: Path) -> Said:
    return told(applied(folder).run("cancel", "1"))


def nothing_to_retry(folder: Path) -> Said:
    return told(applied(folder).run("retry", "1"))


def a_retry_of_a_former_task(folder: Path) -> Said:
    place = failed(folder)
    place.run("retry", "1").expect(0)
    return told(place.run("retry", "1"))


def no_such_decision(folder: Path) -> Said:
    with applied(folder).store() as store:
        return raised(lambda: store.write_now(lambda tx: carry_out_decision(tx, Decision("bless", "1", "ada"))))


def notes_without_end(folder: Path) -> Said:
    return told(waiting(folder).run("approve", "1", "--notes", "x" * LINE_BYTES_MAX))


def an_engine_that_dies_while_it_is_asked(folder: Path) -> Said:
    place = waiting(folder)
    with listener(place, lambda connection: connection.close()):
        return told(place.run("approve", "1"))


def an_engine_that_stands_still(folder: Path) -> Said:
    place = waiting(folder)
    asked = threading.Event()

    def stand_still(connection: socket.socket) -> None:
        asked.wait()
        connection.close()

    with listener(place, stand_still):
        where = Place(place.root, str(place.data), DataDirectory(place.data))
        said = raised(lambda: decide(where, Decision("approve", "1", "ada"), answer_within=0.05))
        asked.set()
        return said


@contextmanager
def listener(place: Workplace, answer: Callable[[socket.socket], object]) -> Iterator[None]:
    """Listen as an engine does, once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        descriptor = os.open(place.data, os.O_PATH)
        server.bind(f"/proc/self/fd/{descriptor}/control.sock")
        os.close(descriptor)
        server.listen()
        thread = threading.Thread(target=lambda: answer(server.accept()[0]))
        thread.start()
        yield
        thread.join()


def a_state_of_another_space(folder: Path) -> Said:
    place = applied(folder)
    place.write("reconcile.yaml", "apiVersion: reconciler/v1\nkind: Space\nmetadata: {name: other}\nspec: {}\n")
    return told(place.run("plan"))


def a_state_of_another_repository(folder: Path) -> Said:
    data = applied(folder / "one").data
    return told(shop(folder / "two", "echo other").run("plan", "--data", data))


CASES = cases(vars())
