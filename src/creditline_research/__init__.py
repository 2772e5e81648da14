"""Research that only makes our own tables: the D-TRAK paper's recipes, and studies of scores.

The library `creditline` never imports this package. It registers its commands by entry points
(`creditline_research.commands`).
"""
