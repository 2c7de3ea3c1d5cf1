"""The pages: each file is one, from the request to its template."""
