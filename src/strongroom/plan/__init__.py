"""Wanted state and observed state in, steps out. Pure: nothing here talks to a host."""
