"""Show what attempts print while they run, from where it was shown last."""

from reconciler.execute.grounds import Grounds
from reconciler.execute.watching import Printed
from reconciler.model.live import Task
from reconciler.protocol.journal import BrokenJournalError
from reconciler.protocol.tickets import TicketId


class Tail:
    """Follows the logs of one task's live attempts for the watcher."""

    def __init__(self, task: Task, grounds: Grounds) -> None:
        self._task = task
        self._grounds = grounds
        self._cursors: dict[TicketId, tuple[int, int, str]] = {}  # ticket → offset shown, step, its name

    def begin(self, ticket: TicketId, step: int, name: str) -> None:
        """Follow an attempt from the first byte of its log."""
        if self._grounds.watcher.reads_output:
            self._cursors[ticket] = (0, step, name)

    async def resume(self, ticket: TicketId, step: int, name: str) -> None:
        """Follow an attempt; what its log holds already was shown by somebody before."""
        if self._grounds.watcher.reads_output:
            self._cursors[ticket] = (await self._grounds.logs.whole(ticket), step, name)

    def show(self, ticket: TicketId) -> None:
        """Show what came since; of a journal that a broken agent sends, as far as it is one."""
        if ticket not in self._cursors:
            return
        offset, step, name = self._cursors[ticket]
        try:
            for end, record in self._grounds.logs.records(ticket, offset):
                self._grounds.watcher.see(Printed(self._task.id, self._task.title, step, name, record))
                offset = end
        except BrokenJournalError:
            del self._cursors[ticket]
        else:
            self._cursors[ticket] = (offset, step, name)

    def end(self, ticket: TicketId) -> None:
        """Show the rest and follow no more."""
        self.show(ticket)
        self._cursors.pop(ticket, None)
