"""HTTP code that the API and the console share: authentication, deadline, bodies, problems and pages."""
