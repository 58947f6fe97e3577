-- 0.2.0 to 0.2.1. What is new stands here as it stands in ecto_job.sql, in its order.
\echo Use "ALTER EXTENSION ecto_job UPDATE" to load this file. \quit

SELECT ecto_job.require_library('0.2.1');
