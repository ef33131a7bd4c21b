"""The notifier function: delivers webhooks, at least once each."""
