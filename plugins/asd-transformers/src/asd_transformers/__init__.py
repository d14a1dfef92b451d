"""Audio networks in the Hugging Face format as extractors."""
