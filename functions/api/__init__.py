"""The API function: signs a message now, or accepts it for later, and answers within two seconds."""
