"""`reconcile promote`: declare another release of a deployment."""

import click

from reconciler.cli.options import located
from reconciler.cli.writing import Manner, Undertaking, reasoned, write_back, writing
from reconciler.server.state.place import Place


@click.command("promote")
@click.argument("deployment")
@click.option("--release", metavar="RELEASE", required=True, help="What is to be deployed from now on.")
@reasoned
@writing
@located
def command(*, deployment: str, release: str, reason: str, manner: Manner, place: Place) -> int:
    """Write another release into the file that declares a DEPLOYMENT; every other byte of it stays."""
    from reconciler.declare.editing import Assigned
    from reconciler.model.spec import Address
    from reconciler.server.forge.writeback import Wish

    wish = Wish(Address("Deployment", deployment), (Assigned(("release",), release),))
    arguments = ["promote", deployment, "--release", release]
    if reason:
        arguments += ["--reason", reason]
    subject = f"Promote {deployment} to {release}"
    return write_back(place, Undertaking(wish, subject, tuple(arguments), reason), manner)
