"""Pictures as SVG inside of a page: geometry and numbers, no script, no style. Pure.

Each has its numbers as text beside it.
"""
