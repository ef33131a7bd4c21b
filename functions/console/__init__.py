"""The console: shows unfinished and ended requests, and sends webhooks again."""
