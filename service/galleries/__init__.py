"""Keeps the galleries equal to the database: generations, replay, calibration."""
