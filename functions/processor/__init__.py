"""The processor function: calls the upstream as often as the window allows, and closes the requests."""
