"""One command makes a model from drawings, with figures and credits."""
