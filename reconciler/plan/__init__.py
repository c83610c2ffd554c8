"""Compare desired with live, purely: changes, reasons, consequences."""
