"""What a person sees: image grids, terminal pictures, plots and tables. Each module is imported when it is used."""
