"""Speech from an exported folder, without the models and their libraries."""
