"""The routes of the service: what each address does with a request."""
