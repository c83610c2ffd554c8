"""Enrolment played for a page: tokens are made, agents bring them, and print the document that a person commits."""

import argparse
import hashlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import ec

from reconciler.agent.declaration import worker_document
from reconciler.agent.settings import Polling, settings_of
from reconciler.execute.listener import Refusal
from reconciler.model.live import LiveState
from reconciler.store import objects
from tests.server.parties import Agent, Installation

SERVER = "reconcile.example.org:10943"


def enrolment(body: str, live: LiveState) -> Iterator[str]:
    """Yield the commands of a block with what each prints; an agent brings the token that was made last."""
    with TemporaryDirectory() as folder:
        here = Installation(Path(folder))
        with here.store:
            here.store.write_now(lambda tx: [objects.put(tx, found) for found in live.objects.values()])
            token = ""
            for command in re.findall(r"^\$ .*\n", body, re.MULTILINE):
                yield command
                asked = _PARSER.parse_args(shlex.split(command[2:])[1:])
                if asked.noun == "token":
                    token = here.token(asked.worker, *asked.pool, replace=asked.replace)
                else:
                    yield _enrolled(here, _machine(asked.state), token)


def _enrolled(here: Installation, agent: Agent, token: str) -> str:
    verdict = here.enrol(agent, token)
    if isinstance(verdict, Refusal):
        return f"refused ({verdict.code}): {verdict.text}\n"
    certified = verdict.certified
    endpoint = Polling((SERVER,), "poll://worker-1")
    return worker_document(settings_of(certified.worker, certified.pools, endpoint, ()), agent.thumbprint)


def _machine(state: str) -> Agent:
    """Return the agent with that state directory, which has the same key each time."""
    number = int.from_bytes(hashlib.sha256(state.encode()).digest()[:31], "big")
    return Agent(ec.derive_private_key(number, ec.SECP256R1()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    nouns = parser.add_subparsers(dest="noun", required=True)
    token, agent = (nouns.add_parser(noun) for noun in ("token", "agent"))
    token.add_argument("verb", choices=["create"])
    token.add_argument("--worker", required=True)
    token.add_argument("--pool", action="append", required=True)
    token.add_argument("--replace", action="store_true")
    agent.add_argument("verb", choices=["enrol"])
    agent.add_argument("--state", required=True)
    return parser


_PARSER = _parser()
