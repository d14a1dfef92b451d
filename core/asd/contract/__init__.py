"""What components are: their interfaces and parameters, how they are made by name, and in a process of their own."""
