"""Work of asd on a Dask cluster."""
