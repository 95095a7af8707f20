"""Networks that predict noise or velocity, behind one interface. They know no catalog and no recipe."""
