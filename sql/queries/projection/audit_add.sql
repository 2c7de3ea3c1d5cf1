-- Writes down what an operator has done, in the same transaction.
INSERT INTO projection.audit (who, name, action, what, events) VALUES ($1, $2, $3, $4::jsonb, $5)
