-- increase_time and reservation_expiry: exact to the microsecond, with checks of the range.
\set ECHO none
\getenv top PG_ABS_SRCDIR
\i :top/test/regress/prepare.sql
\set ECHO all
SELECT ecto_job.increase_time('2031-01-01 00:00:00.123456', 3, 1500);
SELECT ecto_job.increase_time('2031-01-01', 0, 9223372036854775807);
SELECT ecto_job.increase_time('2031-01-01', -1, 1000), ecto_job.increase_time('2031-01-01', 1, -1000);
SELECT ecto_job.reservation_expiry('2031-01-01 00:00:00.123456', 1), ecto_job.reservation_expiry('2031-01-01', 0);
SELECT ecto_job.reservation_expiry('1999-12-31 23:59:59.999999', 1), ecto_job.reservation_expiry('1969-12-31 23:59:59.0005', 1);
-- A day is 24 hours, also when summer time begins or ends
SET timezone = 'Europe/Berlin';
SELECT ecto_job.reservation_expiry('2031-03-29 12:00', 86400000);
SET timezone = 'UTC';
-- To the last microsecond
SELECT ecto_job.reservation_expiry('294276-12-31 23:59:59.998999', 1);
SELECT ecto_job.increase_time('4714-11-24 00:00:00.001 BC', -1, 1);
SELECT pg_temp.outcome(format('SELECT ecto_job.increase_time(%s)', arguments))
FROM unnest(ARRAY['''294276-12-31 23:59:59.999'', 1, 1', '''4714-11-24 00:00:00.000999 BC'', -1, 1',
    '''2031-01-01'', 1, 9223372036854775807', '''2031-01-01'', 2147483647, 9223372036854775807',
    '''2031-01-01'', -2147483648, -9223372036854775808', '''2031-01-01'', -1, -9223372036854775808',
    '''2031-01-01'', 2147483647, 86400000', '''infinity'', 1, 1', '''-infinity'', 1, 1',
    '''infinity'', 0, 0']) AS arguments;
SELECT pg_temp.outcome(format('SELECT ecto_job.reservation_expiry(%s)', arguments))
FROM unnest(ARRAY['''infinity'', 1', '''-infinity'', 1', '''2031-01-01'', 9223372036854775807',
    '''2031-01-01'', -9223372036854775808']) AS arguments;
-- The functions are STRICT
SELECT ecto_job.increase_time(NULL, 1, 1), ecto_job.increase_time(now(), NULL, 1), ecto_job.increase_time(now(), 1, NULL),
       ecto_job.reservation_expiry(NULL, 1), ecto_job.reservation_expiry(now(), NULL);
SELECT oid::regprocedure, provolatile, proisstrict, proparallel FROM pg_proc
WHERE oid IN ('ecto_job.increase_time'::regproc, 'ecto_job.reservation_expiry'::regproc) ORDER BY 1::text;
