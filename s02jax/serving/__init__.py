"""Exports of a bundle, and the runtime that speaks from them."""
