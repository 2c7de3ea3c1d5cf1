-- For a session whose plans outlive the state of the table at which they were made: a table that was empty then looks as if
-- reading all of it, or all above the cursor, were cheap for ever. Nothing that such a session runs needs that if there is
-- another way. Compiling is off, since a plan without another way seems dear enough for it.
SELECT set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false),
       set_config('jit', 'off', false)
