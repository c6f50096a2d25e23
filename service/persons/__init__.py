"""Registrations, their portraits and their enrolment."""
