"""Files that are kept between runs or fetched: folders, digests, downloads, pretrained weights, databases."""
