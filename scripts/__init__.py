"""What operators run: one module per command, gathered in `oneperson`."""
