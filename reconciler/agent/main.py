"""The agent program's command line: one of its commands, or the options by which a server starts it on a connection."""

from __future__ import annotations

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
        from reconciler.agent import options as parsers

        options = parsers.of_servers(COMMANDS).parse_args(given)
        household.serve(os.path.abspath(options.state), options.fd, options.account, look=options.look)
    except (AgentError, RejectedError, ProtocolError, FrameError, MalformedError) as error:
        print(f"reconcile-agent: {error}", file=sys.stderr)  # noqa: T201 - a program's own voice
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
