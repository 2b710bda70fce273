"""The command ``aicached``: one file per command, and `main` that chooses."""
