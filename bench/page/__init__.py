"""What the chat page costs its browser: long answers, hostile documents, and many conversations."""
