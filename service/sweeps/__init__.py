"""Sweeps: all pairs of enrolled persons that look like one."""
