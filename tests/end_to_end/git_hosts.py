"""Hosts of Git as they are in use: nginx with git-http-backend behind TLS and a password, and sshd with keys; child processes."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from getpass import getuser
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.chaos.fleet import free_port
from tests.chaos.processes import until

USER, PASSWORD = "reader", "pass-of-git"
BACKEND = "/usr/lib/git-core/git-http-backend"
NGINX = """\
daemon off;
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    auth_basic "git";
    auth_basic_user_file {folder}/users;
    location / {{
      fastcgi_pass unix:{folder}/cgi.sock;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {root};
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;
    }}
  }}
}}
"""
SSHD = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AcceptEnv GIT_PROTOCOL
"""


@dataclass
class Bare:
    """A bare repository that a host serves, and a clone in which people work."""

    path: Path
    work: Path

    @classmethod
    def new(cls, folder: Path, name: str) -> "Bare":
        """Make both, empty."""
        path, work = folder / "served" / f"{name}.git", folder / "work" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(path))
        run("git", "-C", str(path), "config", "uploadpack.allowFilter", "true")
        run("git", "-C", str(path), "config", "safe.directory", "*")
        run("git", "init", "--quiet", "--initial-branch=main", str(work))
        run("git", "-C", str(work), "remote", "add", "origin", str(path))
        return cls(path, work)

    def push(self, message: str = "Change", **files: str) -> str:
        """Write files, commit and push them; return the commit."""
        for name, text in files.items():
            (self.work / f"{name}.yaml").write_text(text)
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        self.git("push", "--quiet", "--force", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        """Run git in the clone."""
        who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false")
        return run("git", "-C", str(self.work), *who, *arguments)


@dataclass
class Host:
    """Where a repository is reached from, and what has to be known for that."""

    folder: Path
    address: str
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def url(self, bare: Bare) -> str:
        """Return the address of a repository."""
        return f"{self.address}/{bare.path.name}"

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Run a part of the host as a child."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=scrubbed())
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End every part of the host."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(20)
        self.processes.clear()


def obstacle() -> str:
    """Say why hosts cannot be started here, or nothing."""
    if os.geteuid() != 0:
        return "sshd and nginx of our own take root"
    missing = [name for name in ("nginx", "fcgiwrap", "sshd") if shutil.which(name, path=PATHS) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


PATHS = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


@contextmanager
def https_host(folder: Path, root: Path) -> Iterator[Host]:
    """Serve the repositories below `root` over TLS to who knows the password; `folder` gets certificate.pem and password."""
    folder.mkdir()
    port = free_port()
    _certify(folder)
    (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    settings = NGINX.format(user=getuser(), folder=folder, port=port, backend=BACKEND, root=root)
    (folder / "nginx.conf").write_text(settings)
    host = Host(folder, f"https://127.0.0.1:{port}")
    try:
        host.start("/usr/sbin/fcgiwrap", "-f", "-s", f"unix:{folder}/cgi.sock")
        until((folder / "cgi.sock").exists, "fcgiwrap")
        host.start("/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"))
        until((folder / "nginx.pid").exists, "nginx")
        yield host
    finally:
        host.stop()


@contextmanager
def ssh_host(folder: Path, root: Path) -> Iterator[Host]:
    """Serve the repositories below `root` over SSH; `folder` gets the keys: client, and known_hosts."""
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    for name in ("host", "client"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "sshd_config").write_text(SSHD.format(port=port, folder=folder))
    host = Host(folder, f"ssh://{getuser()}@127.0.0.1:{port}{root}")
    try:
        host.start("/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"))
        until(lambda: "listening on" in (folder / "log").read_text(), "sshd")
        yield host
    finally:
        host.stop()


def run(*command: str) -> str:
    """Run a command and return what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True, env=scrubbed()).stdout.strip()


def scrubbed() -> dict[str, str]:
    """Return our environment without what changes git."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}


def _certify(folder: Path) -> None:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "git")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*plain))
