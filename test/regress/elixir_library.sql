-- The statements of EctoJob's Elixir library, unchanged, on the queue "jobs", with the extension's functions in between.
-- The library sends times as UTC, in binary; here they end in Z, for columns with and without a time zone.
DEALLOCATE ALL;
PREPARE insert_job AS INSERT INTO "jobs" ("attempt","params","priority","schedule","state","inserted_at","updated_at") VALUES ($1,$2,$3,$4,$5,$6,$7) RETURNING "id";
PREPARE insert_with_options AS INSERT INTO "jobs" ("attempt","max_attempts","notify","params","priority","schedule","state","inserted_at","updated_at") VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9) RETURNING "id";
PREPARE insert_without_schedule AS INSERT INTO "jobs" ("attempt","params","priority","state","inserted_at","updated_at") VALUES ($1,$2,$3,$4,$5,$6) RETURNING "id";
PREPARE get AS SELECT j0."id", j0."state", j0."expires", j0."schedule", j0."attempt", j0."max_attempts", j0."params", j0."notify", j0."priority", j0."inserted_at", j0."updated_at" FROM "jobs" AS j0 WHERE (j0."id" = $1);
PREPARE activate_scheduled_jobs AS UPDATE "jobs" AS j0 SET "state" = $1, "updated_at" = $2 WHERE (j0."state" IN ('SCHEDULED','RETRY')) AND (j0."schedule" <= $3);
PREPARE activate_expired_jobs AS UPDATE "jobs" AS j0 SET "state" = $1, "expires" = $2, "updated_at" = $3 WHERE (j0."state" IN ('RESERVED','IN_PROGRESS')) AND (j0."attempt" < j0."max_attempts") AND (j0."expires" < $4);
PREPARE fail_expired_jobs_at_max_attempts AS UPDATE "jobs" AS j0 SET "state" = $1, "expires" = $2, "updated_at" = $3 WHERE (j0."state" IN ('IN_PROGRESS')) AND (j0."attempt" >= j0."max_attempts") AND (j0."expires" < $4);
PREPARE reserve_available_jobs AS WITH "available_jobs" AS (SELECT sj0."id" AS "id" FROM "jobs" AS sj0 WHERE (sj0."state" = 'AVAILABLE') ORDER BY sj0."priority", sj0."schedule", sj0."id" LIMIT $1 FOR UPDATE SKIP LOCKED) UPDATE "jobs" AS j0 SET "state" = $2, "expires" = $3, "updated_at" = $4 FROM "available_jobs" AS a1 WHERE (j0."id" = a1."id") RETURNING j0."id", j0."state", j0."expires", j0."schedule", j0."attempt", j0."max_attempts", j0."params", j0."notify", j0."priority", j0."inserted_at", j0."updated_at";
PREPARE update_job_in_progress AS UPDATE "jobs" AS j0 SET "attempt" = $1, "state" = $2, "expires" = $3, "updated_at" = $4 WHERE (j0."id" = $5) AND (j0."attempt" = $6) AND (j0."state" = 'RESERVED') AND (j0."expires" >= $7) RETURNING j0."id", j0."state", j0."expires", j0."schedule", j0."attempt", j0."max_attempts", j0."params", j0."notify", j0."priority", j0."inserted_at", j0."updated_at";
PREPARE delete_job AS DELETE FROM "jobs" WHERE "attempt" = $1 AND "id" = $2;
PREPARE job_failed_retry AS UPDATE "jobs" AS j0 SET "state" = $1, "schedule" = $2 WHERE (j0."id" = $3) AND (j0."state" = 'IN_PROGRESS') AND (j0."attempt" = $4) RETURNING j0."id", j0."state", j0."expires", j0."schedule", j0."attempt", j0."max_attempts", j0."params", j0."notify", j0."priority", j0."inserted_at", j0."updated_at";
PREPARE job_failed_last AS UPDATE "jobs" AS j0 SET "state" = $1, "expires" = $2 WHERE (j0."id" = $3) AND (j0."state" = 'IN_PROGRESS') AND (j0."attempt" = $4) RETURNING j0."id", j0."state", j0."expires", j0."schedule", j0."attempt", j0."max_attempts", j0."params", j0."notify", j0."priority", j0."inserted_at", j0."updated_at";
PREPARE requeue AS UPDATE "jobs" SET "attempt" = $1, "state" = $2, "updated_at" = $3 WHERE "id" = $4;
PREPARE pg_notify AS SELECT pg_notify($1, $2);
\set show 'SELECT id, state, attempt, priority, expires, updated_at, lease IS NOT NULL AS leased FROM jobs ORDER BY id;'

-- new, enqueue; a job with the state SCHEDULED keeps it although its schedule is past
EXECUTE insert_job (0, :params, 0, '2001-01-01 00:00:00.000001Z', 'AVAILABLE', '2001-01-01 00:00:00Z', '2001-01-01 00:00:00Z');
EXECUTE insert_with_options (0, 1, 'payload', :params, -1, '2001-01-01 00:00:00.000002Z', 'AVAILABLE', '2001-01-01 00:00:00Z', '2001-01-01 00:00:00Z');
EXECUTE insert_job (0, :params, 0, '2001-01-01 00:10:00.000000Z', 'SCHEDULED', '2001-01-01 00:00:00Z', '2001-01-01 00:00:00Z');
EXECUTE insert_without_schedule (0, :params, 5, 'AVAILABLE', '2001-01-01 00:00:00Z', '2001-01-01 00:00:00Z');
EXECUTE insert_job (0, :params, 0, '2999-01-01 00:00:00.000000Z', 'SCHEDULED', '2001-01-01 00:00:00Z', '2001-01-01 00:00:00Z');
:show
EXECUTE get (2);

-- Reserves are by priority, then schedule; then only the job without a schedule is left; demand 0
EXECUTE reserve_available_jobs (1, 'RESERVED', '2001-01-01 00:01:00Z', '2001-01-01 00:00:01Z');
EXECUTE reserve_available_jobs (1, 'RESERVED', '2001-01-01 00:01:00Z', '2001-01-01 00:00:01Z');
EXECUTE reserve_available_jobs (0, 'RESERVED', '2001-01-01 00:01:00Z', '2001-01-01 00:00:01Z');
-- A start at the moment of expiry succeeds; a start a microsecond later, or with another attempt, does not
EXECUTE update_job_in_progress (2, 'IN_PROGRESS', '2001-01-01 00:06:00Z', '2001-01-01 00:01:00Z', 2, 1, '2001-01-01 00:01:00Z');
EXECUTE update_job_in_progress (1, 'IN_PROGRESS', '2001-01-01 00:06:00Z', '2001-01-01 00:01:00Z', 2, 0, '2001-01-01 00:01:00.000001Z');
EXECUTE update_job_in_progress (1, 'IN_PROGRESS', '2001-01-01 00:06:00Z', '2001-01-01 00:01:00Z', 2, 0, '2001-01-01 00:01:00Z');
EXECUTE update_job_in_progress (1, 'IN_PROGRESS', '2001-01-01 00:06:00Z', '2001-01-01 00:01:00Z', 1, 0, '2001-01-01 00:01:00Z');
-- A job fails in its last attempt, with its notification; it is requeued; a job with attempts left fails, and keeps expires
EXECUTE job_failed_last ('FAILED', NULL, 2, 1);
EXECUTE pg_notify ('jobs.failed', 'payload');
EXECUTE requeue (0, 'SCHEDULED', '2001-01-01 00:02:00Z', 2);
EXECUTE job_failed_retry ('RETRY', '2001-01-01 00:03:00Z', 1, 1);
:show
-- The library's poller
EXECUTE activate_scheduled_jobs ('AVAILABLE', '2001-01-01 00:10:00Z', '2001-01-01 00:10:00Z');
:show
EXECUTE reserve_available_jobs (1, 'RESERVED', '2001-01-01 00:11:00Z', '2001-01-01 00:10:00Z');
EXECUTE activate_expired_jobs ('AVAILABLE', NULL, '2001-01-01 00:12:00Z', '2001-01-01 00:12:00Z');
:show

-- The extension's functions continue with the library's jobs, and the library with the functions' jobs
SELECT id, state, attempt, expires AT TIME ZONE 'UTC' AS expires_utc, schedule AT TIME ZONE 'UTC' AS schedule_utc, inserted_at AT TIME ZONE 'UTC' AS inserted_at_utc FROM ecto_job.start_available_jobs('jobs', 1, '1 minute', '2001-01-01 00:12:00Z');
SELECT id, lease FROM jobs WHERE state = 'IN_PROGRESS' \gset
EXECUTE activate_expired_jobs ('AVAILABLE', NULL, '2001-01-01 00:14:00Z', '2001-01-01 00:14:00Z');
EXECUTE fail_expired_jobs_at_max_attempts ('FAILED', NULL, '2001-01-01 00:14:00Z', '2001-01-01 00:14:00Z');
:show
SELECT pg_temp.outcome(format('SELECT ecto_job.complete_job(''jobs'', %s, %s)', :id, :lease));
SELECT id, state, attempt FROM ecto_job.requeue('jobs', 2, '2001-01-01 00:15:00Z');
EXECUTE activate_scheduled_jobs ('AVAILABLE', '2001-01-01 00:15:00Z', '2001-01-01 00:15:00Z');
EXECUTE reserve_available_jobs (1, 'RESERVED', '2001-01-01 00:16:00Z', '2001-01-01 00:15:00Z');
EXECUTE update_job_in_progress (1, 'IN_PROGRESS', '2001-01-01 00:20:00Z', '2001-01-01 00:15:00Z', 2, 0, '2001-01-01 00:15:00Z');
SELECT id, state FROM ecto_job.job_failed('jobs', 2, 0, '2001-01-01 00:15:30Z');
SELECT * FROM ecto_job.sweep('jobs', '2001-01-01 00:20:00Z');
SELECT id, state, attempt FROM ecto_job.start_available_jobs('jobs', 1, '1 minute', '2001-01-01 00:20:00Z');
-- Performs: the first of two for one job deletes the job
EXECUTE delete_job (1, 2);
EXECUTE delete_job (1, 1);
EXECUTE delete_job (2, 1);
:show
