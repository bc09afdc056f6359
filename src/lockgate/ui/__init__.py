"""Pages as plain functions from records to HTML; no page fetches anything from outside.

The control process renders them, so nothing here imports numpy or Polars.
"""
