"""The C++ below everything: `_splats` draws, `_points` finds neighbours; no Python logic."""
