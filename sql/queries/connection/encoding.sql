-- How this database encodes text.
SELECT getdatabaseencoding()
