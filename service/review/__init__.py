"""Cases: two officers, evidence beyond the face, and what follows from their decisions."""
