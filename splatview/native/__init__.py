"""The C++ of the CPU backends: one module, no Python logic."""
