"""`python -m scripts` is `oneperson`, for where the console command is not on the path."""

from scripts.cli import main

main()
