"""The doctor: each thing that can be wrong is told in a sentence, with what to do."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from reconciler.model.live import Event, OutputValue, SeenWorker
from reconciler.model.trust import Identity
from reconciler.server.checkup import machine as checkup_machine
from reconciler.server.checkup import state as checkup_state
from reconciler.server.checkup.checkup import Named, checked
from reconciler.server.checkup.findings import Finding, Verdict
from reconciler.server.checkup.machine import program_findings, service_findings
from reconciler.server.checkup.settings import Addresses
from reconciler.server.configuration import Configuration
from reconciler.server.sources.settings import SourceTable
from reconciler.server.state.place import Place
from reconciler.store import audit, enrolment, objects, results, worker_status
from reconciler.store.directory import DataDirectory, EngineLock
from reconciler.store.keys import sealer
from reconciler.store.writer import Store
from tests.cli.workplace import reconcile
from tests.postgres import postgres_server
from tests.server.following import Repository
from tests.server.histories import History
from tests.server.parties import agent, polling_worker

DAY = 86_400.0


def place(folder: Path) -> Place:
    return Place(folder, str(folder), DataDirectory(folder))


def looked(here: Place, named: Named) -> dict[str, Finding]:
    """Return the worst finding of each check."""
    found: dict[str, Finding] = {}
    order = list(Verdict)
    for each in checked(here, named, time.time()):
        before = found.get(each.check)
        if before is None or order.index(before.verdict) < order.index(each.verdict):
            found[each.check] = each
    return found


def state(folder: Path) -> Place:
    here = place(folder / "data")
    with Store.open(here.data, here.files.root) as store:
        task = History(store, here.files).task(1)
        seal = store.write_now(lambda tx: sealer(tx, here.files.key))
        store.write_now(
            lambda tx: results.put_outputs(tx, task.id, [OutputValue("go", "p", "v", sensitive=True)], seal)
        )
        store.write_now(lambda tx: audit.record(tx, Event(time.time(), "ann", "apply", "space")))
    return here


def told(here: Place, check: str, config: Path | None = None, **addresses: str) -> Finding:
    return looked(here, Named(config, Addresses(**addresses)))[check]


def is_wrong(found: Finding, sentence: str, fix: str) -> None:
    assert (found.verdict, found.sentence, found.fix) == (Verdict.WRONG, sentence, fix)


def test_a_sound_installation_has_nothing_wrong(tmp_path: Path) -> None:
    found = looked(state(tmp_path), Named())
    assert {each.check for each in found.values() if each.verdict is Verdict.WRONG} == set()
    assert {"git", "clock", "engine", "files", "disk", "state", "key", "audit"} <= found.keys()
    assert all(each.fix for each in found.values() if each.verdict is not Verdict.FINE)
    assert found["audit"].sentence == "1 event in it, as they were recorded"


def test_files_that_others_can_read(tmp_path: Path) -> None:
    here = state(tmp_path)
    here.files.root.chmod(0o755)
    root = here.files.root
    is_wrong(told(here, "files"), f"{root} can be read by others (mode 0755)", f"run: chmod 700 {root}")
    here.files.root.chmod(0o700)
    here.files.key.chmod(0o644)
    key = here.files.key
    is_wrong(told(here, "key"), f"the key {key} may be read by others (mode 0644)", f"run: chmod 600 {key}")


def test_a_repository_without_a_commit_is_told_how_to_begin(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    here = Place(tmp_path, str(tmp_path / "data"), DataDirectory(tmp_path / "data"))
    begin = (
        f"{tmp_path} holds no commit: write the declarations with `reconcile init`, commit them, then apply or serve"
    )
    assert told(here, "state").fix == begin
    commit = ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
    subprocess.run(["git", "-C", str(tmp_path), *commit], check=True)
    assert told(here, "state").fix == "the first apply or serve makes it"


def test_a_key_that_is_lost(tmp_path: Path) -> None:
    here = state(tmp_path)
    here.files.key.unlink()
    is_wrong(
        told(here, "key"),
        f"the key {here.files.key} is missing",
        "bring it back, from another node if there is one; without it this state's sensitive values are lost",
    )


def test_a_restore_that_was_interrupted(tmp_path: Path) -> None:
    here = place(tmp_path / "data")
    (here.files.root / "restoring").mkdir(parents=True, mode=0o700)
    here.files.root.chmod(0o700)
    is_wrong(told(here, "files"), f"a restore into {here.files.root} was interrupted", "run reconcile restore again")


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = state(tmp_path)
    monkeypatch.setattr(checkup_state, "FREE_LEAST", 1 << 62)
    found = told(here, "disk")
    assert found.verdict is Verdict.WRONG
    assert found.sentence.endswith(f" are free where {here.files.root} lies")
    assert found.fix == "make room: the server ends when the disk is full; shorten [retention]"


def test_a_log_of_the_database_that_nobody_empties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = state(tmp_path)
    monkeypatch.setattr(checkup_state, "WAL_MOST", 0)
    wal = Path(f"{here.files.state}-wal")
    with Store.open(here.data, here.files.root) as store:
        store.write_now(lambda tx: audit.record(tx, Event(1.0, "ann", "apply", "space")))
        found = told(here, "database")
    assert (found.verdict, found.sentence) == (Verdict.DOUBTFUL, f"{wal} has 0.0 GiB")
    assert found.fix == f"some program reads the database without an end: find it with: fuser -v {here.files.state}"


def test_a_state_of_a_newer_release(tmp_path: Path) -> None:
    here = state(tmp_path)
    with Store.open(here.data, here.files.root) as store:
        store.write_now(lambda tx: tx.execute("UPDATE reconciler_schema SET version = 999"))
    found = told(here, "state")
    assert found.verdict is Verdict.WRONG
    assert "was written by a newer reconciler" in found.sentence


def test_an_audit_that_was_changed(tmp_path: Path) -> None:
    here = state(tmp_path)
    with Store.open(here.data, here.files.root) as store:
        store.write_now(lambda tx: tx.execute("UPDATE events SET actor = 'eve'"))
    is_wrong(
        told(here, "audit"),
        "the audit is broken at event 1 (changed): it is not what its hash was made of",
        "compare it with an export that was kept elsewhere",
    )


def test_a_clock_that_was_set_back(tmp_path: Path) -> None:
    here = state(tmp_path)
    with Store.open(here.data, here.files.root) as store:
        store.write_now(lambda tx: audit.record(tx, Event(time.time() + DAY, "ann", "apply", "space")))
    found = told(here, "clock")
    assert found.verdict is Verdict.WRONG
    assert found.sentence.endswith("Z: the clock was set back")
    assert found.fix == "set it right before anything runs: timeouts and certificates depend on it"


def test_agents_that_are_away_old_or_about_to_be_locked_out(tmp_path: Path) -> None:
    here = state(tmp_path)
    known = agent()
    with Store.open(here.data, here.files.root) as store:
        store.write_now(lambda tx: objects.put(tx, polling_worker("w1", "poll://worker-1", known.thumbprint)))
        at_rest = told(here, "agents")
        assert (at_rest.verdict, at_rest.sentence) == (
            Verdict.FINE,
            "1 declared; none is connected, as no engine runs",
        )
        with EngineLock.take(here.files):
            away = told(here, "agents")
        assert (away.verdict, away.sentence) == (Verdict.DOUBTFUL, "not connected: w1")
        seen = SeenWorker(time.time(), "10.0.0.5", "0.0.1", "boot", "store", 1, {})
        store.write_now(lambda tx: worker_status.see(tx, "w1", seen))
        sentences = {each.sentence for each in checked(here, Named(), time.time())}
        assert "of another release than 0.1.0: w1" in sentences
        identity = Identity(known.thumbprint, "w1", "poll://worker-1", "", time.time(), time.time() + DAY, "ann")
        store.write_now(lambda tx: enrolment.put_identity(tx, identity))
        sentences = {each.sentence for each in checked(here, Named(), time.time())}
        assert "with a certificate that ends within 30 days or has ended: w1" in sentences


def test_a_configuration_that_cannot_be_read(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text("[retention]\nlogs = '10m'\n")
    found = told(state(tmp_path), "configuration", config)
    assert found.verdict is Verdict.WRONG
    assert "10m is less than an hour" in found.sentence


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        found = told(state(tmp_path), "address", agents=address)
    is_wrong(
        found, f"nothing can listen on {address}: Address already in use", "stop what does, or choose another address"
    )


def test_tokens_in_clear_and_a_certificate_that_is_none(tmp_path: Path) -> None:
    here = state(tmp_path)
    found = told(here, "http", http="0.0.0.0:0")
    assert found.sentence == "tokens would reach 0.0.0.0:0 in clear"
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("no\n")
    config = tmp_path / "server.toml"
    config.write_text(f'[http]\ntls_certificate = "{tmp_path}/chain.pem"\ntls_key = "{tmp_path}/key.pem"\n')
    found = told(here, "http", config)
    assert found.sentence.startswith(f"the certificate {tmp_path}/chain.pem and its key cannot be used: ")
    assert found.fix == "name a chain and the key that belongs to it, both in PEM"


def test_a_repository_and_a_secret_that_are_there_or_not(tmp_path: Path) -> None:
    here = state(tmp_path)
    repository = Repository(tmp_path / "repository")
    head = repository.pools("a")
    config, secret = tmp_path / "server.toml", tmp_path / "secret"
    secret.write_text("swordfish\n")
    text = '[[source]]\nspace = "shop"\nurl = "%s"\nbranch = "%s"\n[source.webhook]\nsecret_file = "%s"\n'
    config.write_text(text % (repository.root, "main", secret))
    assert told(here, "source shop", config).sentence == f"refs/heads/main of {repository.root} is {head[:12]}"
    assert told(here, "webhook shop", config).verdict is Verdict.FINE
    config.write_text(text % (repository.root, "gone", secret))
    is_wrong(
        told(here, "source shop", config),
        f"file://{repository.root} has no refs/heads/gone",
        "name another branch or tag",
    )
    secret.write_text("\n")
    is_wrong(
        told(here, "webhook shop", config),
        f"the secret {secret} is empty",
        f"write a secret into {secret}, readable for the server's account, and the same into the forge",
    )
    secret.write_text("")
    assert told(here, "webhook shop", config).sentence == f"the secret {secret} is empty"


def test_who_may_read_a_secret_and_change_a_file_of_the_configuration(tmp_path: Path) -> None:
    here, config = state(tmp_path), tmp_path / "server.toml"
    files = {name: tmp_path / name for name in ("password", "secret", "signers")}
    for each in files.values():
        each.write_text("swordfish\n")
        each.chmod(0o640)
    config.write_text(
        f'[[source]]\nspace = "shop"\nurl = "https://127.0.0.1:1/x.git"\nbranch = "main"\n'
        f'[source.login]\nusername = "u"\npassword_file = "{files["password"]}"\n'
        f'[source.signatures]\nssh_allowed_signers_file = "{files["signers"]}"\n'
        f'[source.webhook]\nsecret_file = "{files["secret"]}"\n'
    )
    assert told(here, "secrets", config).sentence == "no file with a secret is open to everybody"
    files["signers"].chmod(0o644)
    assert told(here, "secrets", config).verdict is Verdict.FINE
    for name, mode, sentence in (
        ("password", 0o644, "can be read by everybody (mode 0644)"),
        ("secret", 0o604, "can be read by everybody (mode 0604)"),
        ("signers", 0o646, "can be written by everybody (mode 0646)"),
    ):
        files[name].chmod(mode)
        is_wrong(told(here, "secrets", config), f"{files[name]} {sentence}", f"run: chmod o-rwx {files[name]}")
        files[name].chmod(0o640)


def test_programs_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = SourceTable.model_construct(url="ssh://git@host/x.git", signatures=None)
    configuration = Configuration.model_construct(source=[source])
    git, ssh = program_findings(configuration)
    is_wrong(git, "git is not installed, and commits are read with it", "install it: apt-get install git")
    is_wrong(ssh, "ssh is not installed, and a source is fetched by SSH", "install it: apt-get install openssh-client")
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.20.1\n")
    old.chmod(0o755)
    git, _ = program_findings(configuration)
    assert (git.verdict, git.sentence) == (Verdict.DOUBTFUL, "git version 2.20.1 is older than 2.34")


def entry(folder: Path, inner: str, group: str) -> Path:
    """Make what /proc says of this process."""
    process = folder / "proc" / str(os.getpid())
    process.mkdir(parents=True, exist_ok=True)
    (process / "status").write_text(f"Name:\treconcile\nNSpid:\t77\t{inner}\n")
    (process / "cgroup").write_text(f"0::{group}\n")
    return folder / "proc"


def test_a_service_that_ends_scripts_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = state(tmp_path)
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho control-group\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(checkup_machine, "_in_container", lambda group: "docker" in group)
    with EngineLock.take(here.files):
        (found,) = service_findings(here.files, entry(tmp_path, "77", "/system.slice/reconcile.service/server"))
        is_wrong(
            found,
            "reconcile.service has KillMode=control-group: a restart kills every script on the built-in worker",
            "set KillMode=process in reconcile.service, then: systemctl daemon-reload",
        )
        systemctl.write_text("#!/bin/sh\necho process\n")
        (found,) = service_findings(here.files, entry(tmp_path, "77", "/system.slice/reconcile.service"))
        assert (found.verdict, found.sentence) == (
            Verdict.FINE,
            "an engine runs as reconcile.service, with KillMode=process",
        )
        for inner, group in (("1", "/"), ("77", "/docker/0a1b")):
            (found,) = service_findings(here.files, entry(tmp_path, inner, group))
            assert (found.verdict, found.sentence) == (
                Verdict.DOUBTFUL,
                "the engine runs in a container, and when that ends, so do scripts on the built-in worker",
            )
        (found,) = service_findings(here.files, entry(tmp_path, "77", "/user.slice"))
        assert found.sentence == f"an engine runs (pid {os.getpid()}), not as a service of systemd"
    space = DataDirectory(here.files.root / "shop")
    space.create()
    with EngineLock.take(space):
        (found,) = service_findings(here.files, entry(tmp_path, "77", "/user.slice"))
        assert found.sentence.startswith("an engine runs (pid ")
    (found,) = service_findings(here.files, tmp_path / "proc")
    assert found.sentence == "no engine works on this state now"


def test_the_spaces_of_a_server_are_looked_at_each(tmp_path: Path) -> None:
    for name in ("bank", "shop"):
        state(tmp_path / name)
        (tmp_path / name / "data").rename(tmp_path / f"{name}-data")
    root = tmp_path / "all"
    root.mkdir(mode=0o700)
    for name in ("bank", "shop"):
        (tmp_path / f"{name}-data").rename(root / name)
    sentences = [each.sentence for each in checked(place(root), Named(), time.time())]
    assert sum("has the schema" in sentence for sentence in sentences) == 2


def test_the_command_prints_and_counts(tmp_path: Path) -> None:
    here = state(tmp_path)
    done = reconcile("doctor", "--data", here.data).expect(0)
    assert f"fine      files: {here.files.root} is open to its owner alone\n" in done.out
    here.files.root.chmod(0o755)
    done = reconcile("doctor", "--data", here.data).expect(1)
    assert f"wrong     files: {here.files.root} can be read by others (mode 0755)\n          run: chmod 700" in done.out
    done = reconcile("doctor", "--data", here.data, "--json").expect(1)
    assert '"check":"files","verdict":"wrong"' in done.out
    missing = reconcile("doctor", "--data", tmp_path / "nothing").expect(0)
    assert f"doubtful  state: there is no directory {tmp_path}/nothing yet\n" in missing.out


def test_a_database_is_asked_before_the_first_start(tmp_path: Path) -> None:
    files = ("--files", tmp_path / "nothing")
    with postgres_server() as server:
        address = server.new_database()
        done = reconcile("doctor", "--data", address, *files).expect(0)
        assert f"fine      database: {address} answers\n" in done.out
    done = reconcile("doctor", "--data", address, *files).expect(1)
    assert "wrong     database: PostgreSQL at 127.0.0.1:" in done.out
    assert "check that the server runs, and the host, database and user in --data" in done.out


def test_the_programs_that_the_doctor_knows_are_asked_rightly() -> None:
    for command in (("ssh", "-V"), ("ssh-keygen", "-?"), ("gpg", "--version")):
        subprocess.run(command, capture_output=True, check=False)  # raises where it is not there
        assert checkup_machine._said(*command) is not None
