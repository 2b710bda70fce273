"""Hooks and middleware that show to other systems what calls come to; each module names the extra that it needs."""
