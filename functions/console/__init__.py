"""The console: what is unfinished, what ended, and sending webhooks again."""
