"""The processor function: makes the upstream's calls, as many as the window allows, and tells the outcome."""
