"""Carry out a plan, change by change, each outcome recorded."""
