"""Slips of the pen in the whole example space: each changes one line and earns just the codes that stand beside it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

WHOLE = Path(__file__).parent.parent / "declarations" / "whole"
"""A space with objects of most kinds, free of faults."""


class Slip(NamedTuple):
    """A line of a file, what somebody wrote instead, and the codes that this alone earns.

    One that `casts_doubt` leaves open what is declared, so that something of that kind elsewhere cannot be judged;
    one that stands `alone` gives other slips another meaning.
    """

    file: str
    line: str
    instead: str
    codes: tuple[str, ...]
    casts_doubt: bool = False
    alone: bool = False


def files() -> dict[str, str]:
    """Return the space as it should be, by path."""
    return {path.relative_to(WHOLE).as_posix(): path.read_text() for path in WHOLE.rglob("*") if path.is_file()}


def with_slips(whole: Mapping[str, str], slips: Iterable[Slip]) -> dict[str, str]:
    """Return the space with some slips, each on a line of its own."""
    changed = dict(whole)
    for slip in slips:
        assert changed[slip.file].count(slip.line) == 1, f"{slip.line!r} stands not once in {slip.file}"
        changed[slip.file] = changed[slip.file].replace(slip.line, slip.instead)
    return changed


# Line, what is written instead, and the codes; "?" after them casts doubt, "!" stands alone.
_INFRASTRUCTURE = (
    ("metadata: {name: omaha}\nspec:\n  allowed", "metadata: {name: omaha, lable: {}}\nspec:\n  allowed", "unknown-key"),
    ("  allowedEnvironments: [production]\n  min", "  allowedEnvironments: [prod_uction]\n  min", "bad-name"),
    ("allowedEnvironments: [production]", "allowedEnvironments: [prodution]", "unknown-reference"),
    ("  minWorkers: 2", "  minWorkers: two", "wrong-type"),
    ("  minWorkers: 2", "  minWorkers: 4", "few-workers"),
    ("  minWorkers: 2", "  minWorker: 4", "unknown-key"),
    ("spec: {default: true}", "spec: {defalt: true}", "unknown-key"),
    ("spec: {default: true}", "spec: {default: yes}", "wrong-type"),
    ('timezone: Europe/Berlin', 'timezone: Europe/Berln', "bad-timezone"),
    ('cron: "0 0 * * *"', 'cron: "0 0 * *"', "bad-cron"),
    ("    timeout: 5m", "    timeout: 5", "bad-duration"),
    ("  cleanup: never", "  cleanup: nevr", "bad-value"),
    ("  cleanup: never", "  cleanup: {afterUnavailable: 24h, x: 1}", "unknown-key"),
    ("    username: deploy", "    usrname: deploy", "unknown-key"),
    ("    privateKey: {env: DEPLOY_KEY}", "    privateKey: {env: A, file: b}", "bad-secret"),
    ("    privateKey: {env: DEPLOY_KEY}", "    privateKey: clear", "wrong-type"),
    ("  labels: {os: linux}", "  labels: linux", "wrong-type"),
    ("  labels: {os: linux}", "  labels: {os: null}", "wrong-type"),
    ("  name: w-1", "  name: W-1", "bad-name"),
    ("  name: w-1", "  nam: w-1", "unknown-key?"),
    ("  name: w-1", "  name: worker-1", "odd-name"),
    ("  pools: [omaha]\n  policy", "  pools: [omaa]\n  policy", "unknown-reference?"),
    ("  pools: [omaha]\n  policy", "  pools: []\n  policy", "bad-value?"),
    ("  pools: [omaha]\n  policy", "  pols: [omaha]\n  policy", "unknown-key?"),
    ("  policy: careful\n  slots", "  policy: carefull\n  slots", "unknown-reference"),
    ("  slots: 4", "  slots: 0", "bad-value"),
    ("  slots: 4", "  slots: *four", "undefined-alias"),
    ("  slots: 4", "  slots: !int 4", "tag"),
    ("  drain: {deadline: 1h}", "  drain: {deadlin: 1h}", "unknown-key"),
    ("    listening:", "    listning:", "unknown-key?"),
    ("      host: 10.0.0.1", "      host: 10.0.0.2:22", ""),
    ("      host: 10.0.0.1", "      host: null", "wrong-type"),
    ("      host: 10.0.0.1", "      port: 70000", "missing-key bad-value"),
    ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ", "duplicate-identity"),
    ("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "47DEQpj8", "bad-thumbprint"),
    ("  defaults: {pools: [omaha]}", "  defaults: {pools: [omaha, omah]}", "unknown-reference?"),
    ("  defaults: {pools: [omaha]}", "  default: {pools: [omaha]}", "unknown-key?"),
    ("    - name: w-2", "    - nam: w-2", "unknown-key"),
    ("    - name: w-2", "    - name: w-3", "duplicate-name"),
    ("account: deploy-key", "account: deploy", "unknown-reference"),
    ("      policy: careful\n      endpoint", "      policy: careless\n      endpoint", "unknown-reference"),
    ('subscription: "poll://three"', 'subscription: three', "bad-subscription"),
    ("  tags: [web]", "  tags: [web, 1]", ""),
    ("  tenants: [acme]\n  def", "  tenants: [acm]\n  def", "unknown-reference"),
    ("  defaultPool: omaha", "  defaultPool: omah", "unknown-reference"),
    ("    kubernetes: {url", "    kubernets: {url", "unknown-key"),
    ("  runOn: workerPool\n  pool: omaha", "  runOn: server\n  pool: omaha", "bad-location"),
    ("  runOn: workerPool\n  pool: omaha", "  runOn: workrPool\n  pool: omaha", "bad-value"),
    ("  container: {image", "  container: {imag", "unknown-key"),
    ("feed: files}\n", "feed: fils}\n", "unknown-reference"),
    ("kind: MachinePolicy", "kind: MachinePolcy", "unknown-kind"),
    ("apiVersion: reconciler/v1\nkind: DeploymentTarget", "apiVersion: reconciler/v2\nkind: DeploymentTarget", "api-version"),
)  # fmt: skip
_ORGANISATION = (
    ("spec: {sortOrder: 1}", "spec: {sortOrder: first}", "wrong-type"),
    ("metadata: {name: production}\nspec: {sort", "metadata: {name: Production}\nspec: {sort", "bad-name?"),
    ("    - {name: gold}", "    - {name: Gold}", "bad-name?"),
    ("    - {name: gold}", "    - {nam: gold}", "unknown-key?"),
    ("    - {name: gold}", "    - {name: golden}", "unknown-tag?"),
    ("  tags: [tier/gold]", "  tags: [tier/glod]", "unknown-tag"),
    ("  tags: [tier/gold]", "  tags: [tier-gold]", "bad-tag"),
    ("  tags: [tier/gold]", "  tag: [tier/gold]", "unknown-key"),
    ("  projects: {shop: [production]}", "  projects: {shop: [staging]}", "tenant-not-connected?"),
    ("  projects: {shop: [production]}", "  projects: {shpo: [production]}", "unknown-reference tenant-not-connected?"),
    ("  projects: {shop: [production]}", "  projects: {shop: production}", "wrong-type"),
    ("    - {name: Customer, value: acme}", "    - {name: Customer, value: null}", "bad-variable"),
    ("    - {name: Customer, value: acme}", "    - {name: Customer, typ: string, value: a}", "unknown-key?"),
    ("    - {name: Region, value: us}", "    - {name: Regin, value: us}", "unknown-name?"),
    ("    - {name: Region, value: us}", "    - {name: 1Region, value: us}", "bad-name?"),
    ("    - {name: Region, value: us}", "    - {nam: Region, value: us}", "unknown-key?"),
    ("    - name: Api.Key", "    - name: Region", "duplicate-variable!"),
    ("    - name: Api.Key", "    - name: Region.Key", "variable-prefix?"),
    ("      type: sensitive\n      value: {env: API_KEY}", "      type: sensitive\n      value: hush", "secret-in-clear"),
    ("      type: sensitive\n      value: {env: API_KEY}", "      typ: sensitive\n      value: hush", "unknown-key?"),
    ("      type: sensitive\n      value: {env: API_KEY}", "      type: string\n      value: {file: a}", "source-not-allowed?"),
    ("  directory: {path: /srv/packages}", "  directori: {path: /srv/packages}", "unknown-key"),
    ("  directory: {path: /srv/packages}", "  account: nobody", "exactly-one unknown-reference"),
    ('spec: {members: ["dba@example.org"]}', 'spec: {members: dba}', "wrong-type"),
    ("metadata: {name: dba}", "metadata: {name: DBA}", "bad-name"),
)  # fmt: skip
_WORK = (
    ("  environments: [staging, production]", "  environments: [staging]", "environment-not-allowed"),
    ("  environments: [staging, production]", "  environments: [staging, prodution]", "unknown-reference environment-not-allowed"),
    ("  environments: [staging, production]", "  environmets: [staging]", "unknown-key"),
    ("  variableSets: [shared]", "  variableSets: [shard]", "unknown-reference?"),
    ("  variableSets: [shared]", "  variableSet: [shared]", "unknown-key?"),
    ("    - {name: Database, value: shop}", "    - {name: Databse, value: shop}", "unknown-name unknown-name unknown-name?"),
    ("    - {name: Database, value: shop}", "    - {name: Database, valu: shop}", "unknown-key"),
    ("    - {name: Database, value: shop}", '    - {name: Database, value: "${{ vars.Url }}"}', "cycle!"),
    ("      type: workerPool\n", "      type: workerPol\n", "bad-value?"),
    ("      type: workerPool\n", "      type: string\n", "unknown-variable?"),
    ("{value: main, scope: {environments: [staging]}}", "{value: mian, scope: {environments: [staging]}}", "unknown-reference"),
    ("{value: main, scope: {environments: [staging]}}", "{value: main, scope: {targets: [web-1]}}", "pool-scope"),
    ("{value: main, scope: {environments: [staging]}}", "{value: main, scope: {environments: [production]}}", "ambiguous-variable"),
    ("{value: main, scope: {environments: [staging]}}", "{value: main, scop: {environments: [staging]}}", "unknown-key"),
    ("      value: {env: SHOP_DB_PASSWORD}", "      value: swordfish", "secret-in-clear"),
    ('{value: "db/${{ vars.Database }}"}', '{value: "db/${{ vars.Databas }}"}', "unknown-name"),
    ("scope: {steps: [migrate]}", "scope: {steps: [migrat]}", "unknown-step"),
    ("    - name: Back up\n", "    - name: Back/up\n", "bad-name?"),
    ("    - name: Back up\n", "    - name: Backup\n", "unknown-name?"),
    ("    - name: Back up\n", "    - name: Approve\n", "duplicate-step unknown-name?"),
    ("      location: database", "      location: databse", "unknown-reference"),
    ("      environments: {only: [production]}", "      environments: {ony: [production]}", "unknown-key"),
    ("        syntax: bash\n        file", "        syntax: bsh\n        file", "bad-value"),
    ("        file: scripts/backup.sh", "        file: scripts/bakup.sh", "missing-file"),
    ("        file: scripts/backup.sh", "        file: ../backup.sh", "bad-path"),
    ('        PGPASSWORD: "${{ vars.Db.Password }}"', '        PGPASSWORD: "${{ vars.Db.Pasword }}"', "unknown-name"),
    ('        PGPASSWORD: "${{ vars.Db.Password }}"', '        PGPASSWORD: "${{ vars.Db.Password | }}"', "bad-template"),
    ("feed: files, version", "feed: fils, version", "unknown-reference"),
    ("      timeout: 10m", "      timout: 10m", "unknown-key"),
    ("retry: {attempts: 3,", "retry: {attempts: 0,", "bad-value"),
    ("${{ steps['Back up'].output.url }} for ${{ vars.Region }}", "${{ steps.migrate.output.url }} for ${{ vars.Reg }}", "unknown-name unknown-name"),
    ("${{ steps['Back up'].output.url }} for", "${{ vars.Db.Password }} for", "secret-in-clear"),
    ("        teams: [dba]", "        teams: [db]", "unknown-reference"),
    ("      manual:\n", "      manul:\n", "unknown-key?"),
    ("      required: true", "      requird: true", "unknown-key?"),
    ("        runOn: workerPool\n        poolVariable", "        runOn: server\n        poolVariable", "bad-location"),
    ("        poolVariable: Pool", "        poolVariable: Poll", "unknown-variable"),
    ("        poolVariable: Pool", "        poolVariable: Database", "unknown-variable"),
    ("      condition: success", "      condition: succes", "bad-condition"),
    ("      condition: success", "      condition: \"${{ steps.Approv.status == 'succeeded' }}\"", "unknown-name"),
    ("        name: sql-migrate", "        name: sql-migrat", "unknown-reference?"),
    ("with: {database: ", "with: {databse: ", "bad-parameter bad-parameter?"),
    ("        targetTags: [web]\n", "        targetTag: [web]\n", "unknown-key"),
    ("          - name: Restart", "          - nam: Restart", "unknown-key?"),
    ("location: {runOn: targets, targetTags: [web]}", "location: {runOn: targets}", "bad-location"),
    ('{STATUS: "${{ steps.restart.status }}"}', '{STATUS: "${{ steps.restrt.status }}"}', "unknown-name"),
    ("    - {name: database, type: string}", "    - {name: databse, type: string}", "bad-parameter bad-parameter unknown-name?"),
    ("    - {name: database, type: string}", "    - {nam: database, type: string}", "unknown-key?"),
    ("options: [small, large], default: small", "options: [small, large], default: huge", "bad-parameter"),
    ("params.database | quote", "params.databas | quote", "unknown-name"),
    ("params.database | quote", "params.database", "unquoted-value"),
    ("metadata: {name: rotate-keys}\nspec:\n  project: shop", "metadata: {name: rotate-keys}\nspec:\n  project: shp", "unknown-reference?"),
    ("      script: {syntax: bash, body: rotate}", "      script: {syntax: bash, body: rotate, file: rotate.sh}", "exactly-one missing-file"),
    ('      env: {DATABASE: "${{ vars.Database }}"}', "      manual: {}", "two-actions missing-key"),
    ("  runbook: rotate-keys", "  runbook: rotate", "unknown-reference"),
    ('  schedule: {cron: "0 3 * * 1"}', '  schedule: {every: 1h, cron: "0 3 * * 8"}', "exactly-one bad-cron"),
    ("  environment: staging\n", "  environment: stagin\n", "unknown-reference"),
    ("  environment: staging\n", "  enviroment: staging\n", "unknown-key"),
    ("  tenants: [acme]\n  skip", "  tenants: [acm]\n  skip", "unknown-reference?"),
    ("  skipSteps: [migrate]", "  skipSteps: [migrat]", "unknown-step"),
    ("  skipSteps: [migrate]", "  skipSteps: [approve]", "required-step"),
    ("  packages: {web: 1.4.2}", "  packages: {db-tools: 1.4.2}", "pinned-package"),
    ("  packages: {web: 1.4.2}", "  packages: {web: null}", "wrong-type"),
    ('  variables: {Note: "1"}', "  variables: {Note: [1]}", "wrong-type"),
    ("  after: [shop-staging]", "  after: [shop-production]", "cycle"),
    ("  after: [shop-staging]", "  after: [shop-stagin]", "unknown-reference"),
    ("  after: [shop-staging]", "  after: [{deployment: shop-staging, soak: 2}]", "bad-duration"),
    ("spec:\n  project: shop\n  release: 1.10\n  environment: production", "sepc:\n  project: shop\n  release: 1.10\n  environment: production", "unknown-key"),
)  # fmt: skip

SLIPS = tuple(
    Slip(f"{file}.yaml", line, instead, tuple(sorted(codes.strip("?!").split())), "?" in codes, "!" in codes)
    for file, slips in (("infrastructure", _INFRASTRUCTURE), ("organisation", _ORGANISATION), ("work", _WORK))
    for line, instead, codes in slips
)
