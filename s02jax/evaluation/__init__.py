"""Evaluation of speech: public benchmarks and a bundle's own report."""
