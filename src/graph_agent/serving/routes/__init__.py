"""The addresses of the service, and what each does with a request."""
