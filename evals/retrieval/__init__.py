"""The evaluation of retrieval alone, without a language model: `make eval-retrieval`."""
