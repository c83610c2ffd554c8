"""The repositories that are measured: a fleet of workers, a process of many steps, and Terraform's like of them."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

WORKERS_PER_POOL = 50
FILES_PER_FOLDER = 100

POOL = """\
apiVersion: reconciler/v1
kind: WorkerPool
metadata:
  name: pool-{number:03}
spec:
  description: Workers of site {number}
  minWorkers: 2
"""

WORKER = """\
apiVersion: reconciler/v1
kind: Worker
metadata:
  name: {name}
  labels: {{os: linux, zone: zone-{zone}}}
spec:
  pools: [{pool}]
  endpoint:
    listening:
      host: {name}.example.org
      port: 10933
      thumbprints: ["{thumbprint}"]
  state: enabled
  drain: {{deadline: 1h, then: wait}}
  slots: {slots}
"""

CALLING_WORKER = WORKER.replace(
    "    listening:\n      host: {name}.example.org\n      port: 10933\n",
    "    polling:\n      subscription: poll://{name}\n",
)
"""One that nobody dials."""

RESOURCE = """\
resource "terraform_data" "{name}" {{
  input = {{
    labels   = {{ os = "linux", zone = "zone-{zone}" }}
    pools    = ["{pool}"]
    endpoint = {{ host = "{name}.example.org", port = 10933, thumbprints = ["{thumbprint}"] }}
    state    = "enabled"
    drain    = {{ deadline = "1h", then = "wait" }}
    slots    = {slots}
  }}
}}
"""

PROCESS = """\
apiVersion: reconciler/v1
kind: Environment
metadata: {{name: production}}
spec: {{}}
---
apiVersion: reconciler/v1
kind: Project
metadata: {{name: measured}}
spec:
{variables}  process:
{steps}---
apiVersion: reconciler/v1
kind: Deployment
metadata: {{name: measured}}
spec: {{project: measured, release: "1", environment: production}}
"""


def write_fleet(root: Path, count: int, worker: str = WORKER) -> None:
    """Make a committed repository of `count` objects, each in a file of its own: workers, and a pool for each fifty."""
    pools = count // WORKERS_PER_POOL
    _begin(root)
    (root / "pools").mkdir()
    for number in range(pools):
        (root / "pools" / f"pool-{number:03}.yaml").write_text(POOL.format(number=number))
    for number in range(count - pools):
        path = worker_file(root, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(worker.format(**_fields(number, pools), slots=4))
    commit(root)


def change_fleet(root: Path, count: int, slots: int) -> None:
    """Change one worker in the middle of a fleet of `count` objects."""
    number = count // 2
    fields = _fields(number, count // WORKERS_PER_POOL)
    worker_file(root, number).write_text(WORKER.format(**fields, slots=slots))


def write_resources(root: Path, count: int) -> None:
    """Make the same fleet for Terraform: `count` resources, each in a file of its own."""
    root.mkdir()
    for number in range(count):
        change_resource(root, count, number, slots=4)


def change_resource(root: Path, count: int, number: int, slots: int) -> None:
    """Write one resource of a fleet of `count`."""
    fields = _fields(number, count // WORKERS_PER_POOL)
    (root / f"{fields['name']}.tf").write_text(RESOURCE.format(**fields, slots=slots))


def write_process(root: Path, *, steps: list[str], variables: str = "") -> None:
    """Make a committed repository with one deployment; `steps` and `variables` are YAML that is not yet indented."""
    _begin(root)
    shown = "".join(f"    - name: Step {number}\n{_indented(step, 6)}" for number, step in enumerate(steps))
    (root / "space.yaml").write_text(PROCESS.format(steps=shown, variables=_indented(variables, 2)))
    commit(root)


def copy_repository(source: Path, root: Path) -> None:
    """Make a committed repository of the files in `source`."""
    shutil.copytree(source, root)
    _begin(root)
    commit(root)


def commit(root: Path) -> None:
    """Commit everything in `root`."""
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--allow-empty", "--message", "As it is measured")


def worker_file(root: Path, number: int) -> Path:
    """Return where a fleet declares one of its workers."""
    return root / "workers" / f"{number // FILES_PER_FOLDER:03}" / f"worker-{number:05}.yaml"


def _fields(number: int, pools: int) -> dict[str, str]:
    name = f"worker-{number:05}"
    digest = hashlib.sha256(name.encode()).digest()
    thumbprint = "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
    return {"name": name, "zone": str(number % 7), "pool": f"pool-{number % pools:03}", "thumbprint": thumbprint}


def _begin(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    _git(root, "init", "--quiet", "--initial-branch=main")


def _git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "gc.auto=0")
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True)


def _indented(text: str, columns: int) -> str:
    return "".join(f"{' ' * columns}{line}\n" for line in text.splitlines())
