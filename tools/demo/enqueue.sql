-- One transaction, as an application would write it: all its jobs appear when it commits, or none.
-- "fails" is the number of attempts at which tools/demo/perform fails.
BEGIN;
-- a plain INSERT does the same as the function
INSERT INTO jobs (params) VALUES ('{"task": "resize a picture"}');
SELECT ecto_job.enqueue('jobs', '{"task": "tidy up (low priority)"}', priority => 10);
SELECT ecto_job.enqueue('jobs', '{"task": "alarm (high priority)"}', priority => -10);
SELECT ecto_job.enqueue('jobs', '{"task": "reminder (in 4 s)"}', schedule => now() + interval '4 s');
SELECT ecto_job.enqueue('jobs', '{"task": "import (fails twice)", "fails": 2}');
SELECT ecto_job.enqueue('jobs', '{"task": "export (always fails)", "fails": 1000}');
COMMIT;
