"""Who signed a commit or tag, judged by keys that the server was given; the repository has no say in it."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from subprocess import DEVNULL, PIPE, TimeoutExpired, run
from tempfile import mkdtemp
from typing import Literal

from reconciler.declare.git import Terms, asked, git
from reconciler.model.errors import ReconcilerError

IMPORT_SECONDS = 30.0
JUDGING = """#!/bin/sh
for word; do
    shift
    case "$word" in -Overify-time=*) ;; *) set -- "$@" "$word" ;; esac
done
exec ssh-keygen "$@"
"""
"""Stands for ssh-keygen: a key has to be valid now, whatever date a commit gives itself."""
BY_SSH = re.compile(r'^Good "git" signature for (\S+) with (\S+) key (\S+)', re.MULTILINE)
BY_GPG = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]+)", re.MULTILINE)
GPG_NAME = re.compile(r"^\[GNUPG:\] GOODSIG \S+ (.+)$", re.MULTILINE)


class Unsigned(ReconcilerError):
    """A commit or tag is not signed by anybody who may sign."""


class SignersUnreadable(ReconcilerError):
    """Who may sign cannot be told now."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(
            f"{file}, which says who may sign, cannot be read: {reason}",
            "put it back where the configuration names it, and let the server's account read it",
        )


@dataclass(frozen=True, slots=True)
class Signers:
    """What has to be signed, and by whom: a file of allowed signers for SSH, a file of public keys for GPG.

    With `every` it is also each commit since the one that was carried out last.
    """

    of: Literal["commit", "tag"] = "commit"
    every: bool = False
    ssh: Path | None = None
    gpg: Path | None = None


def signed_by(root: Path, name: str, signers: Signers, home: Path, tag: str = "") -> str:
    """Return who signed the commit or tag object `name` of the repository at `root`.

    Raises Unsigned, GitSlow, and SignersUnreadable where the files of those who may sign are away.

    `home` is a folder of ours in which keyrings are kept; `tag` is what a tag has to call itself, "" for anything:
    whoever may push can give a tag that somebody signed the name of another.
    """
    kind = asked(root, "cat-file", "-t", name).output.decode().strip()
    if signers.of == "tag" and kind != "tag":
        raise Unsigned(f"{name[:12]} is no signed tag", "tag the commit with: git tag -s")
    if signers.of == "tag" and tag and (called := _called(root, name)) != tag:
        raise Unsigned(f"{tag} is the tag {called} under another name", f"tag the commit with: git tag -s {tag}")
    answer = asked(root, f"verify-{signers.of}", "--raw", name, terms=_terms(signers, home))
    if answer.status == 0 and (found := BY_SSH.search(answer.said)) and signers.ssh is not None:
        return f"{found[1]} ({found[2]} {found[3]})"
    if answer.status == 0 and (found := BY_GPG.search(answer.said)) and signers.gpg is not None:
        named = GPG_NAME.search(answer.said)
        return f"{named[1] if named else 'somebody'} (GPG {found[1]})"
    raise Unsigned(f"the {signers.of} {name[:12]} {_why(answer.said)}", "sign it with a key that the server knows")


def check_every(root: Path, commits: Sequence[str], last: str, signers: Signers, home: Path) -> None:
    """Raise Unsigned for the first of `commits` that is not signed, all those that came after `last`; raises GitSlow."""
    for name in commits:
        try:
            signed_by(root, name, replace(signers, of="commit"), home)
        except Unsigned as error:
            count = "the only one" if len(commits) == 1 else f"one of the {len(commits)}"
            raise Unsigned(
                f"{error.message}, and it is {count} since {last[:12]}, which was carried out last",
                "sign each of them with a key that the server knows, and push them anew",
            ) from error


def _called(root: Path, name: str) -> str:
    """Return what a tag calls itself, which is signed with it."""
    lines = git(root, "cat-file", "tag", name).partition(b"\n\n")[0].splitlines()
    found = next((line for line in lines if line.startswith(b"tag ")), b"tag ")
    return found.removeprefix(b"tag ").decode(errors="replace")


def _why(said: str) -> str:
    if "EXPKEYSIG" in said or "EXPSIG" in said:
        return "is signed with a key or a signature that has expired"
    if "REVKEYSIG" in said:
        return "is signed with a key that was revoked"
    if "BADSIG" in said or "incorrect signature" in said.lower():
        return "has a signature that does not fit its content"
    if any(word in said for word in ("NO_PUBKEY", "No principal matched", 'Good "git" signature with', "ERRSIG")):
        return "is signed by somebody who may not sign"
    if not said.strip() or "no signature found" in said.lower():
        return "is not signed"
    return f"has a signature that cannot be verified: {said.strip().splitlines()[-1][:200]}"


def _terms(signers: Signers, home: Path) -> Terms:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    ring, allowed, judging = _keyring(signers.gpg, home), _allowed(signers.ssh, home), home / "judging"
    _write_once(judging, JUDGING.encode(), 0o700)
    settings = (
        *("protocol.allow=never", f"gpg.ssh.allowedSignersFile={allowed}"),
        *(f"gpg.ssh.program={judging}", "gpg.program=gpg", "gpg.x509.program=false"),
    )
    return Terms(settings, {"GNUPGHOME": str(ring)})


def _keyring(keys: Path | None, home: Path) -> Path:
    """Return a folder with a keyring that holds `keys` and nothing else; it is made once for each content."""
    data = _read(keys) if keys is not None else b""
    ring = home / sha256(data).hexdigest()[:16]
    if not ring.exists():
        new = Path(mkdtemp(dir=home))
        try:
            if keys is not None and data:
                _import(data, new, keys)
            if not ring.exists():  # nobody else has made it meanwhile
                new.rename(ring)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return ring


def _allowed(signers: Path | None, home: Path) -> Path:
    """Return a copy of the file of allowed signers, which does not go away while it is judged by."""
    data = _read(signers) if signers is not None else b""
    copy = home / f"{sha256(data).hexdigest()[:16]}.signers"
    _write_once(copy, data, 0o600)
    return copy


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SignersUnreadable(file, error.strerror or str(error)) from error


def _write_once(file: Path, data: bytes, mode: int) -> None:
    """Write a file in one step where it is not there."""
    if not file.exists():
        new = Path(mkdtemp(dir=file.parent)) / file.name
        new.write_bytes(data)
        new.chmod(mode)
        new.rename(file)
        new.parent.rmdir()


def _import(data: bytes, ring: Path, keys: Path) -> None:
    home = os.open(ring, os.O_PATH | os.O_DIRECTORY)  # by its number, for the path of a socket has 107 bytes at most
    folder = f"/proc/self/fd/{home}"
    command = ("gpg", "--batch", "--quiet", "--no-autostart", "--homedir", folder, "--import")
    try:
        done = run(
            command, input=data, stdout=DEVNULL, stderr=PIPE, timeout=IMPORT_SECONDS, check=False, pass_fds=(home,)
        )
    except FileNotFoundError as error:
        raise ReconcilerError("gpg is not installed, and signers are named by GPG keys", "install gnupg") from error
    except TimeoutExpired as error:
        raise SignersUnreadable(keys, f"gpg took longer than {IMPORT_SECONDS:g} s") from error
    finally:
        os.close(home)
    if done.returncode:
        raise ReconcilerError(f"{keys} holds no GPG keys: {done.stderr.decode(errors='replace').strip()[:200]}")
