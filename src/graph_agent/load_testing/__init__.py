"""`graph-agent load`: ask a served agent as many users at a time would, and report how long they waited."""
