"""Gaussians -> Gaussians, as data."""
