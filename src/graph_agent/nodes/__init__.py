"""The building blocks of graphs, independent of HTTP."""
