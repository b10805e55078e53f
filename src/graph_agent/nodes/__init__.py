"""What graphs are made of; knows nothing of HTTP."""
