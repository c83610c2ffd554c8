"""Who signed is judged by the server's keys: SSH and GPG, commits and tags, real programs."""

import os
import subprocess
from pathlib import Path

import pytest

from reconciler.declare import signatures
from reconciler.declare.signatures import Signers, SignersUnreadable, Unsigned, signed_by
from reconciler.model.errors import ReconcilerError


class Signed:
    """A repository whose commits are signed, or not, with keys of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "repository"
        self.root.mkdir()
        self.home = folder / "keyrings"
        self.gpg_home = folder / "gpg"
        self.gpg_home.mkdir(mode=0o700)
        self.git("init", "--quiet", "--initial-branch=main")

    def run(self, *command: str, cwd: Path | None = None) -> str:
        scrubbed = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        environment = scrubbed | {"GNUPGHOME": str(self.gpg_home), "HOME": str(self.folder)}
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com", *arguments, cwd=self.root)

    def ssh_key(self, name: str) -> Path:
        key = self.folder / name
        self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))
        return key

    def allowed(self, *keys: Path, options: str = "") -> Path:
        lines = [f"{key.name}@example.com {options} {key.with_suffix('.pub').read_text()}" for key in keys]
        file = self.folder / "allowed"
        file.write_text("".join(lines))
        return file

    def gpg_key(self, name: str) -> str:
        self.run(
            "gpg",
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-generate-key",
            f"{name} <{name}@example.com>",
            "ed25519",
        )
        shown = self.run("gpg", "--batch", "--list-keys", "--with-colons", name)
        return next(line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr"))

    def exported(self, *names: str) -> Path:
        file = self.folder / "keys.asc"
        file.write_text(self.run("gpg", "--batch", "--armor", "--export", *names))
        return file

    def commit(self, key: Path | str | None = None) -> str:
        self.git(*_signing(key), "commit", "--quiet", "--allow-empty", "--message", "x", *(("-S",) if key else ()))
        return self.git("rev-parse", "HEAD")

    def signer(self, name: str, signers: Signers) -> str:
        return signed_by(self.root, name, signers, self.home)


def _signing(key: Path | str | None) -> tuple[str, ...]:
    if isinstance(key, Path):
        return ("-c", "gpg.format=ssh", "-c", f"user.signingKey={key}")
    return ("-c", "gpg.format=openpgp", "-c", f"user.signingKey={key}") if key else ()


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_commit_is_signed_with_an_ssh_key_that_is_allowed(signed: Signed) -> None:
    key = signed.ssh_key("ann")
    commit = signed.commit(key)
    assert signed.signer(commit, Signers(ssh=signed.allowed(key))).startswith("ann@example.com (ED25519 SHA256:")


def test_a_commit_is_signed_with_a_gpg_key_that_is_known(signed: Signed) -> None:
    fingerprint = signed.gpg_key("ben")
    commit = signed.commit(fingerprint)
    assert signed.signer(commit, Signers(gpg=signed.exported("ben"))) == f"ben <ben@example.com> (GPG {fingerprint})"


def test_a_state_may_lie_deeper_than_the_path_of_a_socket_is_long(signed: Signed) -> None:
    fingerprint, deep = signed.gpg_key("ben"), signed.folder / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    told = signed_by(signed.root, signed.commit(fingerprint), Signers(gpg=signed.exported("ben")), deep)
    assert told == f"ben <ben@example.com> (GPG {fingerprint})"


def test_a_commit_that_is_not_signed_is_refused(signed: Signed) -> None:
    commit = signed.commit()
    with pytest.raises(Unsigned) as caught:
        signed.signer(commit, Signers(ssh=signed.allowed(signed.ssh_key("ann"))))
    assert caught.value.message == f"the commit {commit[:12]} is not signed"
    assert caught.value.hint == "sign it with a key that the server knows"


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_stranger_may_not_sign(signed: Signed, kind: str) -> None:
    known, stranger = (signed.ssh_key("ann"), signed.ssh_key("eve")) if kind == "ssh" else (None, None)
    if kind == "ssh":
        assert known is not None
        commit, signers = signed.commit(stranger), Signers(ssh=signed.allowed(known))
    else:
        commit = signed.commit(signed.gpg_key("eve"))
        signed.gpg_key("ann")
        signers = Signers(gpg=signed.exported("ann"))
    with pytest.raises(Unsigned) as caught:
        signed.signer(commit, signers)
    assert caught.value.message == f"the commit {commit[:12]} is signed by somebody who may not sign"


def test_a_key_of_the_other_kind_counts_for_nothing(signed: Signed) -> None:
    ssh, gpg = signed.ssh_key("ann"), signed.gpg_key("ben")
    by_ssh, by_gpg = signed.commit(ssh), signed.commit(gpg)
    for commit, signers in ((by_ssh, Signers(gpg=signed.exported("ben"))), (by_gpg, Signers(ssh=signed.allowed(ssh)))):
        with pytest.raises(Unsigned):
            signed.signer(commit, signers)


def test_the_repository_cannot_name_its_own_signers(signed: Signed) -> None:
    known, eve = signed.ssh_key("ann"), signed.ssh_key("eve")
    commit = signed.commit(eve)
    theirs = signed.folder / "theirs"
    theirs.write_text(f"eve@example.com {eve.with_suffix('.pub').read_text()}")
    signed.git("config", "gpg.ssh.allowedSignersFile", str(theirs))
    signed.git("config", "gpg.program", "/bin/true")
    signed.git("config", "gpg.ssh.program", "/bin/true")
    with pytest.raises(Unsigned):
        signed.signer(commit, Signers(ssh=signed.allowed(known)))


def test_a_key_may_have_been_valid_only_before(signed: Signed) -> None:
    key = signed.ssh_key("ann")
    commit = signed.commit(key)
    with pytest.raises(Unsigned):
        signed.signer(commit, Signers(ssh=signed.allowed(key, options='valid-before="20200101"')))


def test_content_that_was_changed_after_it_was_signed_is_refused(signed: Signed) -> None:
    fingerprint = signed.gpg_key("ben")
    commit = signed.commit(fingerprint)
    raw = signed.git("cat-file", "commit", commit).replace("\n\nx", "\n\ny")
    forged = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=signed.root, input=f"{raw}\n", capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    with pytest.raises(Unsigned) as caught:
        signed.signer(forged, Signers(gpg=signed.exported("ben")))
    assert caught.value.message == f"the commit {forged[:12]} has a signature that does not fit its content"


def test_a_signed_tag_may_be_asked_for(signed: Signed) -> None:
    key = signed.ssh_key("ann")
    signers = Signers("tag", ssh=signed.allowed(key))
    commit = signed.commit()
    signed.git(*_signing(key), "tag", "-s", "--message", "first", "v1")
    tag = signed.git("rev-parse", "v1")
    assert signed.signer(tag, signers).startswith("ann@example.com")
    with pytest.raises(Unsigned) as caught:
        signed.signer(commit, signers)
    assert caught.value.message == f"{commit[:12]} is no signed tag"
    signed.git("tag", "--annotate", "--no-sign", "--message", "second", "v2")
    second = signed.git("rev-parse", "v2")
    with pytest.raises(Unsigned) as unsigned:
        signed.signer(second, signers)
    assert unsigned.value.message == f"the tag {second[:12]} is not signed"


def test_keys_that_changed_count_at_once(signed: Signed) -> None:
    first = signed.commit(signed.gpg_key("ben"))
    keys = signed.exported("ben")
    assert signed.signer(first, Signers(gpg=keys)).startswith("ben")
    signed.gpg_key("ann")
    keys.write_text(signed.exported("ann").read_text())
    with pytest.raises(Unsigned):
        signed.signer(first, Signers(gpg=keys))


def test_a_key_that_has_expired_signs_nothing_whatever_date_a_commit_gives(signed: Signed) -> None:
    key = signed.ssh_key("ann")
    allowed = signed.allowed(key, options='valid-before="20200101"')
    dated = ("env", "GIT_COMMITTER_DATE=2019-06-01T00:00:00Z", "git", "-c", "user.name=Ann", "-c", "user.email=a@b.org")
    signed.run(*dated, *_signing(key), "commit", "--quiet", "--allow-empty", "-S", "--message", "x", cwd=signed.root)
    commit = signed.git("rev-parse", "HEAD")
    with pytest.raises(Unsigned) as caught:
        signed.signer(commit, Signers(ssh=allowed))
    assert caught.value.message == f"the commit {commit[:12]} is signed by somebody who may not sign"
    assert signed.signer(commit, Signers(ssh=signed.allowed(key))).startswith("ann@example.com")


def test_a_signed_tag_counts_under_its_own_name_alone(signed: Signed) -> None:
    key = signed.ssh_key("ann")
    signed.commit()
    signed.git(*_signing(key), "tag", "-s", "--message", "an old one", "v1")
    tag, signers = signed.git("rev-parse", "v1"), Signers("tag", ssh=signed.allowed(key))
    assert signed_by(signed.root, tag, signers, signed.home, "v1").startswith("ann@example.com")
    with pytest.raises(Unsigned) as caught:
        signed_by(signed.root, tag, signers, signed.home, "production")
    assert caught.value.message == "production is the tag v1 under another name"
    assert caught.value.hint == "tag the commit with: git tag -s production"


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_file_of_signers_that_is_away_makes_nobody_a_stranger(signed: Signed, kind: str) -> None:
    if kind == "ssh":
        key = signed.ssh_key("ann")
        commit, file = signed.commit(key), signed.allowed(key)
        signers = Signers(ssh=file)
    else:
        commit, file = signed.commit(signed.gpg_key("ann")), signed.exported("ann")
        signers = Signers(gpg=file)
    away = file.rename(signed.folder / "away")
    with pytest.raises(SignersUnreadable) as caught:
        signed.signer(commit, signers)
    assert caught.value.message == f"{file}, which says who may sign, cannot be read: No such file or directory"
    assert caught.value.hint == "put it back where the configuration names it, and let the server's account read it"
    file.mkdir()
    with pytest.raises(SignersUnreadable) as unreadable:
        signed.signer(commit, signers)
    assert unreadable.value.message == f"{file}, which says who may sign, cannot be read: Is a directory"
    file.rmdir()
    away.rename(file)
    assert signed.signer(commit, signers).startswith("ann")


def test_a_file_that_holds_no_keys_leaves_nothing_behind(signed: Signed) -> None:
    commit = signed.commit(signed.gpg_key("ann"))
    keys = signed.folder / "keys.asc"
    keys.write_text("no keys\n")
    for _ in range(2):
        with pytest.raises(ReconcilerError) as caught:
            signed.signer(commit, Signers(gpg=keys))
        assert caught.value.message.startswith(f"{keys} holds no GPG keys: ")
    assert list(signed.home.iterdir()) == []


def test_keys_that_are_not_imported_in_time_are_waited_for(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, file = signed.commit(signed.gpg_key("ann")), signed.exported("ann")
    programs = signed.folder / "programs"
    programs.mkdir()
    (programs / "gpg").write_text("#!/bin/sh\nexec sleep 600\n")
    (programs / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(signatures, "IMPORT_SECONDS", 0.2)
    with pytest.raises(SignersUnreadable) as caught:
        signed.signer(commit, Signers(gpg=file))
    assert caught.value.message == f"{file}, which says who may sign, cannot be read: gpg took longer than 0.2 s"
