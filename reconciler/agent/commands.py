"""The agent's commands on its own command line: enrol, run, show, rotate, trust.

Each brings its modules along itself, so that the agent that runs is small.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Optional

from reconciler.agent import household
from reconciler.agent.faults import AgentError

AUTHORITY_BYTES_MAX = 64 << 10  # a file of certificates; one has about 700 bytes


def main(arguments: Sequence[str]) -> int:
    """Carry out one command and return the exit status; raise `AgentError`."""
    if len(arguments) == 3 and arguments[:2] == ["run", "--state"] and not arguments[2].startswith("-"):
        household.run(os.path.abspath(arguments[2]))  # as a service starts it: `argparse` would take 900 kB for ever
        return 0
    from reconciler.agent import options as parsers

    options = parsers.of_commands().parse_args(arguments)
    state = os.path.abspath(options.state)
    if options.command == "enrol":
        way = {"listen": options.listen, "proxy": options.proxy}
        return enrol(state, options.server, options.token_file, accounts=options.account, **way)
    if options.command == "trust":
        worker = {"name": options.name, "pools": options.pool or ["default"], "accounts": options.account}
        return trust(state, options.ca, options.pin, listen=options.listen, **worker)
    if options.command == "show":
        return show(state)
    if options.command == "rotate":
        return rotate(state)
    household.run(state)
    return 0


def enrol(
    state: str,
    servers: Sequence[str],
    token_file: str,
    *,
    listen: Optional[str] = None,
    proxy: Optional[str] = None,
    accounts: Sequence[str] = (),
) -> int:
    """Enrol and print the Worker document on stdout, what to do with it on stderr."""
    from reconciler.agent import enrolment

    token = enrolment.token_of(_content(token_file, enrolment.TOKEN_BYTES_MAX, "--token-file"))
    document = enrolment.enrol(state, servers, token, listen=listen, proxy=proxy, accounts=accounts)
    _print_document(document, "This agent is enrolled.", state)
    return 0


def trust(
    state: str,
    authority_file: str,
    pin: str,
    *,
    listen: str,
    name: Optional[str],
    pools: Sequence[str],
    accounts: Sequence[str] = (),
) -> int:
    """Trust a server by hand and print the Worker document."""
    from reconciler.agent import enrolment

    authorities = _content(authority_file, AUTHORITY_BYTES_MAX, "--ca")
    document = enrolment.trust_by_hand(
        state, authorities, pin, listen=listen, worker=name, pools=pools, accounts=accounts
    )
    _print_document(document, "This agent trusts the server.", state)
    return 0


def show(state: str) -> int:
    """Print who the agent is and how its machine is; the status is 1 if something is wrong with it."""
    from reconciler.agent import showing

    text, is_well = showing.shown(state)
    sys.stdout.write(text)
    return 0 if is_well else 1


def rotate(state: str) -> int:
    """Make the next key and say what to change in Git."""
    from reconciler.agent import enrolment

    current, following = enrolment.rotate(state)
    print(current)  # noqa: T201 - a program's own voice
    print(following)  # noqa: T201 - a program's own voice
    _say("The second is the next identity. List both in the Worker document and commit it:")
    _say(f'  thumbprints: ["{current}", "{following}"]')
    _say("The running agent has the key certified and changes to it when that is applied;")
    _say("`reconcile agent show` then names it as the identity, and the first can be removed.")
    return 0


def _content(path: str, bytes_max: int, option: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(bytes_max + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(bytes_max + 1)
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}; {option} names a file, or - for stdin") from None
    if len(data) > bytes_max:
        raise AgentError(f"{path}: it has more than {bytes_max >> 10} KiB; is it the file for {option}?")
    return data.decode("utf-8", "replace")


def _print_document(document: str, done: str, state: str) -> None:
    sys.stdout.write(document)
    sys.stdout.flush()
    _say(f"{done} Commit the document above; the worker gets work when that is applied.")
    _say(f"Start the agent with: reconcile agent run --state {state}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - a program's own voice
