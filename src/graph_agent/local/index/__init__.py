"""Local vector indexes: one SQLite file each, searched by meaning and by words."""
