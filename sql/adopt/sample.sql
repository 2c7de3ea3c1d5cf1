-- What the mapping makes of some rows; changes nothing. Without an order it reads as many rows as it returns.
SELECT {topic}, {key} FROM {source} AS new {where}{order}LIMIT 1000
