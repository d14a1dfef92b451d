"""OpenL3 embeddings (Look, Listen and Learn More) of environmental sound and music, computed in PyTorch."""
