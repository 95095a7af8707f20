"""What training a recipe takes, said before it is begun: operations, hours, device memory, storage and dollars."""
