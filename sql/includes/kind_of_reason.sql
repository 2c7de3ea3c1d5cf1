-- kind_of_reason(error): the first words of why an event died, the same for events of one kind. What differs from row to row
-- is taken out: text in quotes after a colon, and numbers but for codes in brackets.
       left(regexp_replace(regexp_replace(coalesce(:error, 'no reason given'), ': [''"].*', ''),
                           '\d+(?!\d*\))', 'N', 'g'), 100),
