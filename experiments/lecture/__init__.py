"""The lecture, slide by slide: `python -m experiments.lecture` runs all of it.

Each module here is one lesson. It computes something (`work`), says in a few sentences what came out (`findings`),
and draws it (`pictures`); its tests check what it claims, and a page of the documentation shows its code.
"""
