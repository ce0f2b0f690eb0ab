"""Layers: packages that functions share, found below /opt."""
