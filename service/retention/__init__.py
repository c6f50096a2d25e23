"""What is kept how long, and its erasure when the time has come."""
