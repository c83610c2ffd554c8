"""How a server is reached: over TLS, beside another that leads, and where tokens are made."""

import json
import re
import socket
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.api import spaces
from reconciler.model.errors import UsageMistake
from reconciler.server.configuration import EMBEDDED, read_configuration
from reconciler.server.trust.access_settings import HttpTable, is_loopback
from tests.api.premises import PATIENCE, Premises, premises, until
from tests.cli.workplace import RECONCILE, Workplace, environment, reconcile


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.key").write_bytes(private)
    return folder / "tls.pem", folder / "tls.key"


def test_a_server_with_a_certificate_speaks_tls(tmp_path: Path) -> None:
    shown, key = certificate(tmp_path)
    table = HttpTable(tls_certificate=str(shown), tls_key=str(key))
    with premises(tmp_path, configuration=EMBEDDED.model_copy(update={"http": table})) as found:
        (tmp_path / "token").write_text(found.token("viewer"))
        at = ("--server", f"https://{found.address}", "--token-file", tmp_path / "token")
        assert reconcile("status", *at, "--ca-file", shown).expect(0).out.startswith("Space shop at ")
        assert "is not trusted" in reconcile("status", *at).expect(1).err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_alone_needs_no_tls(host: str) -> None:
    assert is_loopback(host)
    HttpTable().check(f"[{host}]:1" if ":" in host else f"{host}:1")


@pytest.mark.parametrize("http", [":8080", "0.0.0.0:8080", "[::]:8080", "10.1.2.3:80", "deploy.example.org:80"])
def test_an_address_that_others_reach_needs_tls_or_a_proxy(http: str, tmp_path: Path) -> None:
    with pytest.raises(UsageMistake, match="in clear"):
        HttpTable().check(http)
    HttpTable(behind_proxy=True).check(http)
    shown, key = certificate(tmp_path)
    HttpTable(tls_certificate=str(shown), tls_key=str(key)).check(http)


def test_serve_does_not_start_where_tokens_would_pass_in_clear(tmp_path: Path) -> None:
    work = Workplace(tmp_path / "space")
    work.declare_shop()
    work.commit()
    assert "tokens would reach 0.0.0.0:1 in clear" in work.run("serve", "--http", "0.0.0.0:1").expect(1).err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[http]\ntls_key = '/etc/passwd'\n", "http: tls_certificate and tls_key go together"),
        ("[http]\nrate = 0.0\n", "http.rate: Input should be greater than 0"),
        (
            "[[oidc]]\nissuer='i'\naudience='a'\nsubject='s'\nroles=['root']\nspaces=['*']\njwks_file='/etc/passwd'\n",
            'oidc.0.roles.0: there is no role "root"; there are viewer, auditor, approver, deployer, operator, administrator',
        ),
        (
            "[[oidc]]\nissuer='i'\naudience='a'\nsubject='s'\nroles=['viewer']\nspaces=['*']\n",
            "oidc.0: name one of jwks_url and jwks_file",
        ),
        (
            "[[oidc]]\nissuer='i'\naudience='a'\nsubject='s'\nroles=['viewer']\nspaces=['*']\njwks_url='http://ci/keys'\n",
            "oidc.0.jwks_url: keys are fetched by https:// alone",
        ),
        (
            "[[oidc]]\nissuer='i'\naudience='a'\nsubject=''\nroles=['viewer']\nspaces=['*']\njwks_file='/etc/passwd'\n",
            "oidc.0.subject: String should have at least 1 character",
        ),
    ],
)
def test_a_fault_of_the_configuration_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(UsageMistake) as failure:
        read_configuration(path)
    assert failure.value.message == f"{path}: {sentence}"


def test_a_node_that_stands_by_names_the_one_that_leads(tmp_path: Path) -> None:
    with premises(tmp_path) as found:
        token, post = found.token("administrator"), found.service.post
        controller, post.controller, post.leader = post.controller, None, "node-b"
        try:
            reply = found.get("/status", token)
            assert reply.expect(503) == {
                "error": "the node node-b leads the space",
                "hint": "call that node",
                "code": 3,
            }
            assert reply.headers["retry-after"] == "5"
            found.get("/status", "").expect(401)
            for bad in ("rcl_" + "A" * 43, "a.b.c", f"{token}x"):
                assert found.get("/status", bad).expect(401)["error"] == "the token is unknown, expired or revoked"
            post.leader = ""
            assert found.get("/status", token).expect(503)["error"] == "no node leads the space yet"
            code, _, err = found.at_server(token, "status", "--space", "shop")
            assert (code, err) == (3, "Error: no node leads the space yet\n  try again\n")
        finally:
            post.controller = controller
        found.get("/status", token).expect(200)


def test_a_look_that_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "LOOK_WITHIN", 0.2)
    with premises(tmp_path) as found:
        token, controller = found.token("deployer"), found.service.post.controller
        assert controller is not None
        found.post("/look", token).expect(200)
        controller._look_at = float("inf")  # as if a look were under way that hangs
        monkeypatch.setattr(type(controller), "wake", lambda _: None)
        said = found.post("/look", token).expect(409)
        assert said["error"] == "the source was not looked at within 0.2 s"


def test_tokens_are_made_listed_and_revoked_beside_the_state(shop: Premises) -> None:
    def run(*arguments: str) -> str:
        return reconcile("access", *arguments, "-C", shop.work.root).expect(0).out

    made = run("create", "ci", "--role", "deployer", "--role", "auditor", "--expires", "30d")
    assert re.fullmatch(r"rcl_[A-Za-z0-9_-]{43}\n", made)
    assert shop.get("/conditions", made.strip()).status == 200
    row = next(line for line in run("list").splitlines() if line.startswith("ci "))
    assert re.split(r"\s{2,}", row)[:4] == ["ci", "deployer,auditor", "shop", "open"]
    assert made.strip()[4:] not in run("list", "--json")
    record = next(json.loads(line) for line in run("list", "--json").splitlines() if '"ci"' in line)
    assert record["grants"] == [{"role": "deployer", "space": "shop"}, {"role": "auditor", "space": "shop"}]
    assert record["last_used_at"] is not None
    assert run("revoke", "ci") == "revoked the token ci\n"
    assert run("revoke", "ci") == "ci was revoked already\n"
    shop.get("/conditions", made.strip()).expect(401)
    assert re.fullmatch(r"rcl_[A-Za-z0-9_-]{43}\n", run("create", "ci", "--role", "viewer")), "the name is free again"


@pytest.mark.end_to_end
def test_who_follows_outlives_the_server_and_hears_all(tmp_path: Path) -> None:
    """The server is ended and started again in the midst of a log that is followed from afar."""
    gate = tmp_path / "gate"
    work = Workplace(tmp_path / "space")
    work.declare_shop(f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done; seq 100")
    work.commit()
    (tmp_path / "serve.toml").write_text("[builtin_worker]\nas_server = true\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = (tmp_path / "serve.log").open("a")

    def serve() -> subprocess.Popen[bytes]:
        command = [RECONCILE, "serve", "--http", address, "--config", tmp_path / "serve.toml", "--new-state"]
        return subprocess.Popen(command, cwd=work.root, env=environment(), stderr=log)

    def ended(server: subprocess.Popen[bytes]) -> None:
        server.terminate()
        assert server.wait(PATIENCE) == 0

    with closing(log):
        server = serve()
        until(lambda: work.run("tasks").out.count("running") == 1, "the task")
        (tmp_path / "token").write_text(
            reconcile("access", "create", "me", "--role", "viewer", "--space", "*", "-C", work.root).out
        )
        at = ["--server", f"http://{address}", "--token-file", tmp_path / "token"]
        until(lambda: "begun" in reconcile("logs", "1", *at).out, "the first line")
        with subprocess.Popen(
            [RECONCILE, "logs", "1", "-f", *at], env=environment(), stdout=subprocess.PIPE
        ) as follower:
            assert follower.stdout is not None
            heard = follower.stdout.readline() + follower.stdout.readline()
            assert heard == b"==> Work on built-in\nbegun\n"
            ended(server)
            server = serve()
            gate.touch()
            rest = follower.stdout.read()
            assert follower.wait(PATIENCE) == 0
        assert (heard + rest).decode() == work.run("logs", "1").expect(0).out
        ended(server)
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_a_space_whose_first_commit_is_refused_tells_why(tmp_path: Path) -> None:
    with premises(
        tmp_path, declare=lambda work: work.write("pool.yaml", "apiVersion: reconciler/v1\nkind: [\n")
    ) as found:
        viewer = found.token("viewer")
        ready = {one["type"]: one for one in found.get("/conditions", viewer).expect(200)["conditions"]}["Ready"]
        assert (ready["status"], ready["reason"]) == (False, "Invalid")
        found.get("/status", found.token("viewer", space="blog")).expect(404)
