"""How fast a backlog drains: the real core, API signing and processor loop, beside three references."""
