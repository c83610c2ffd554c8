"""Command lines of the agent program: its commands, and the options by which a server starts it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def of_commands() -> argparse.ArgumentParser:
    """Return the parser of the commands."""
    parser = argparse.ArgumentParser(prog="reconcile-agent", description="Runs the attempts of one worker.")
    commands = parser.add_subparsers(dest="command", required=True)
    enrolling = commands.add_parser("enrol", help="become a worker with a one-use token")
    enrolling.add_argument(
        "--server", action="append", required=True, metavar="HOST:PORT", help="repeat it for several"
    )
    enrolling.add_argument("--token-file", required=True, metavar="FILE|-", help="holds the one-use token")
    enrolling.add_argument("--listen", metavar="HOST:PORT", help="the server dials this agent there")
    enrolling.add_argument("--proxy", metavar="URL", help="http://HOST:PORT; credentials are never given here")
    commands.add_parser("run", help="serve until told to stop")
    commands.add_parser("show", help="say who the agent is and how its machine is")
    commands.add_parser("rotate", help="make the next key")
    trusting = commands.add_parser("trust", help="trust a server by hand, for a listening agent that cannot dial out")
    trusting.add_argument("--ca", required=True, metavar="FILE", help="the authority's certificate, PEM")
    trusting.add_argument("--pin", required=True, metavar="THUMBPRINT", help="the server's thumbprint")
    trusting.add_argument("--listen", default="0.0.0.0:10933", metavar="HOST:PORT", help="where the server dials")
    trusting.add_argument("--name", metavar="NAME", help="the worker's name; else the machine's")
    trusting.add_argument("--pool", action="append", metavar="POOL", help="repeat it for several")
    for command in (enrolling, trusting):
        command.add_argument(
            "--account", action="append", default=[], metavar="NAME", help="steps may run under it; repeat for several"
        )
    for command in commands.choices.values():
        command.add_argument("--state", required=True, metavar="DIR", help="the agent's state directory")
    return parser


def of_servers(names: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the options by which a server starts an agent."""
    parser = argparse.ArgumentParser(
        prog="reconcile-agent",
        description="Runs the attempts of one worker.",
        epilog=f"Commands, each with --help: {', '.join(names)}. Without one, a server has started us.",
    )
    parser.add_argument("--state", required=True, help="directory of the tickets; made if missing")
    parser.add_argument("--fd", type=int, required=True, help="open descriptor of the stream to the server")
    parser.add_argument("--account", action="append", default=[], help="steps may run under it; repeat for several")
    parser.add_argument("--look", action="store_true", help="look what the machine has, and tell it")
    return parser
