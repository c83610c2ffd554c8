"""What people order and decide, each carried out in one transaction with its line in the audit."""
