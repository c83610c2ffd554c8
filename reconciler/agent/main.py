"""The agent program's command line: one of its commands, or the options by which a server starts it on a connection."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Optional

from reconciler.agent import household
from reconciler.agent.faults import AgentError
from reconciler.protocol.frames import FrameError
from reconciler.protocol.objects import MalformedError
from reconciler.protocol.session import ProtocolError, RejectedError

COMMANDS = ("enrol", "run", "show", "rotate", "trust")


def main(arguments: Optional[list[str]] = None) -> int:
    """Carry out a command of the agent, or run it on an open connection; return the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] and given[0] in COMMANDS:
            from reconciler.agent import commands

            return commands.main(given)
        parser = argparse.ArgumentParser(
            prog="reconcile-agent",
            description="Runs the attempts of one worker.",
            epilog=f"Commands, each with --help: {', '.join(COMMANDS)}. Without one, a server has started us.",
        )
        parser.add_argument("--state", required=True, help="directory of the tickets; made if missing")
        parser.add_argument("--fd", type=int, required=True, help="open descriptor of the stream to the server")
        parser.add_argument("--account", action="append", default=[], help="steps may run under it; repeat for several")
        options = parser.parse_args(given)
        household.serve(os.path.abspath(options.state), options.fd, options.account)
    except (AgentError, RejectedError, ProtocolError, FrameError, MalformedError) as error:
        print(f"reconcile-agent: {error}", file=sys.stderr)  # noqa: T201 - a program's own voice
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
