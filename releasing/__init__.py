"""`make release`: the wheel, the sdist and the bill of materials of a version, and their checks."""
