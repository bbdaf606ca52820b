"""Language models whose weights the AR model may begin from."""
