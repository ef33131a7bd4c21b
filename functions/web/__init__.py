"""What the API and the console share of HTTP: who asks, the two seconds, bodies, problems and pages."""
