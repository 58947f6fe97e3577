// The command line, parsed by CLI11. The long text of --help is in `footer`; an option's own line
// says only what that option does.
//
// An empty --exec or --sql is refused: it would succeed on every job and so empty the queue.
#include "consumer/options.hpp"

#include "consumer/sql_text.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

namespace ecto_job::consumer {

namespace {

constexpr int usage_error = 2;
// Each job needs two pipes or a connection; a process usually has 1,024 descriptors
constexpr int most_jobs = 400;
constexpr int longest_snooze = 365 * 24 * 60 * 60;

constexpr const char *description = R"(Performs the jobs of ecto_job's queues:

  ecto_job_consumer --queue QUEUE --exec COMMAND [OPTIONS]
  ecto_job_consumer --queue QUEUE --sql STATEMENT [OPTIONS]
)";

constexpr const char *footer = R"(
With --exec, a job's program gets the params on its standard input (JSON, or the bytes of a binary
queue's params) and in its environment:
  ECTO_JOB_ID, ECTO_JOB_ATTEMPT, ECTO_JOB_MAX_ATTEMPTS, ECTO_JOB_QUEUE (as given to --queue), and
  ECTO_JOB_META (JSON; absent if the job has none). Where meta is longer than the system lets a
  variable be (128 kB), ECTO_JOB_META_OMITTED stands in its place: its length in bytes
  TRACEPARENT, if meta has a traceparent: the parent of the first attempt; of a retry a link only
Exit status 0 completes the job. 65 (EX_DATAERR) fails it for good, whatever its attempt. 75
(EX_TEMPFAIL) puts it back for --snooze seconds, and the attempt does not count. Any other status, or
death by a signal, fails it. A failed job's error is the status and the end of what the program wrote
to standard error. All programs are reported over one connection. No transaction is open while a
program runs.
While a program runs, its job's lease is extended at a third of its length, so that a program may
take longer than a lease. The program's process group gets SIGTERM, and SIGKILL 5 s later, when the
job was lost or cancelled (nothing is reported then), or when the lease ends: because the server
cannot be reached, or with --no-extend. Another consumer may have the job by then.

With --sql, the job is completed and the statement executed in one transaction: what the statement
writes is committed exactly once, or not at all. $1 is the params (jsonb, or bytea in a binary
queue), $2 the whole job (ecto_job.job). An error, also one at COMMIT, rolls back and fails the job
with the error's text; after a conflict with another transaction (40001, 40P01) it is first repeated,
up to 8 times. Statements that end a transaction, and COPY with the client, are refused. A running
transaction keeps its job even when the lease is over: limit it by statement_timeout (PGOPTIONS).
Each of the -j jobs has a connection of its own, and one more waits for notifications. With
--per-transaction a transaction performs several jobs; if anything of it fails, each of them is
performed by itself.

A failed job is tried again after the queue's retry timeout, until its attempts are used up.

The consumer waits for notifications, and looks for jobs at least every poll_interval of the queue:
through a pooler in transaction mode, where LISTEN does nothing, that is all there is. A lost
connection is opened again, after 1 to 30 s; a program that ended meanwhile is reported then.

--drain ends when nothing is left to start: no job is AVAILABLE and the consumer's own are done. Jobs
that wait for their time (SCHEDULED, RETRY) and jobs of other consumers are not waited for.

SIGTERM or SIGINT: no new jobs; those that were begun are finished, and those that wait are given
back: they are AVAILABLE at once, and no attempt is counted. A second one stops at once: programs get
SIGTERM, and the jobs come back when the connection ends (without preload: when their lease is over).

Where the database has an extension before 0.3.0, exit statuses 65 and 75 are like any other, no
lease is extended, and waiting jobs are finished.

The connection is described as for psql: by these options, PG* variables, ~/.pgpass and service
files. The consumer never asks for a password.

Exit status: 0 stopped or drained, 1 a fatal error or stopped at once, 2 usage or no connection at
the start.)";

// Returns an error for a text of blanks only.
std::string not_blank(const std::string &text) {
    return text.find_first_not_of(" \t\r\n") == std::string::npos ? "must not be empty" : "";
}

// Returns a range check without CLI11's own description in --help.
CLI::Validator in_range(int from, int to) {
    return CLI::Range(from, to).description("");
}

void add_connection_options(CLI::App &app, Options &options) {
    constexpr const char *group = "Connection";
    const auto add = [&](const char *names, std::optional<std::string> &value, const char *what,
                         const char *type) {
        // The last of several values counts, as in psql.
        app.add_option(names, value, what)->type_name(type)->group(group)->take_last();
    };
    add("-d,--dbname", options.dbname, "database, connection string or URI", "DBNAME");
    add("-h,--host", options.host, "server's host or socket directory", "HOST");
    add("-p,--port", options.port, "server's port", "PORT");
    add("-U,--username", options.user, "database user", "NAME");
    app.add_flag("-w,--no-password")
        ->description("never ask for a password (it never does)")
        ->group(group);
}

void add_work_options(CLI::App &app, Options &options) {
    constexpr const char *group = "Work";
    app.add_option("--queue", options.queues, "queue to serve, schema.table or table; repeatable")
        ->type_name("QUEUE")
        ->required()
        ->allow_extra_args(false)
        ->check(not_blank)
        ->group(group);
    app.add_option("--exec", options.exec, "run this by /bin/sh -c for each job")
        ->type_name("COMMAND")
        ->check(not_blank)
        ->group(group);
    app.add_option("--sql", options.sql, "execute this in each job's own transaction")
        ->type_name("STATEMENT")
        ->check(why_not_in_transaction)
        ->group(group);
    app.add_option("-j,--jobs", options.jobs, "jobs performed at the same time, up to 400 (1)")
        ->type_name("N")
        ->check(in_range(1, most_jobs))
        ->group(group);
    app.add_option("--batch", options.batch,
                   "jobs that one call may start; leases run while their jobs wait "
                   "(as many as can be run at once)")
        ->type_name("N")
        ->check(in_range(1, 10'000))
        ->group(group);
    app.add_option("--per-transaction", options.per_transaction,
                   "with --sql: jobs that one transaction performs (1)")
        ->type_name("N")
        ->check(in_range(1, 10'000))
        ->group(group);
    app.add_option("--timeout", options.timeout,
                   "a lease's length for each attempt, as an interval (the queue's setting)")
        ->type_name("INTERVAL")
        ->check(not_blank)
        ->group(group);
    app.add_option("--snooze", options.snooze,
                   "with --exec: seconds for which exit status 75 puts a job back (60)")
        ->type_name("SECONDS")
        ->check(in_range(1, longest_snooze))
        ->group(group);
    app.add_flag("!--no-extend", options.extend,
                 "with --exec: do not extend leases; a program gets SIGTERM when its lease ends")
        ->group(group);
    app.add_flag("!--no-flush", options.flush,
                 "do not wait until the disk or a standby has a job's start; a crash may lose it")
        ->group(group);
    app.add_flag("--drain", options.drain, "end when nothing is left to start")->group(group);
}

} // namespace

std::optional<int> parse_options(int argc, const char *const *argv, Options &options) {
    CLI::App app(description, "ecto_job_consumer");
    app.footer(footer);
    app.set_help_flag("-?,--help", "print this and end");
    app.set_version_flag("-V,--version", "ecto_job_consumer (ecto_job) " ECTO_JOB_VERSION,
                         "print the version and end");
    app.add_option("--log-level", options.log_level,
                   "debug, info, warning, error or off (info); the log is standard error")
        ->type_name("LEVEL")
        ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}).description(""));
    add_work_options(app, options);
    add_connection_options(app, options);
    try {
        app.parse(argc, argv);
        if (options.exec.has_value() == options.sql.has_value())
            throw CLI::RequiredError("exactly one of --exec and --sql");
        if (options.exec && options.per_transaction > 1)
            throw CLI::RequiresError("--per-transaction", "--sql");
        for (const char *option : {"--snooze", "--no-extend"})
            if (options.sql && app.count(option) > 0)
                throw CLI::RequiresError(option, "--exec");
    } catch (const CLI::ParseError &error) {
        if (error.get_exit_code() == 0)
            return app.exit(error, std::cout, std::cerr);
        std::cerr << "ecto_job_consumer: " << error.what()
                  << "\nTry \"ecto_job_consumer --help\" for more information.\n";
        return usage_error;
    }
    return std::nullopt;
}

} // namespace ecto_job::consumer
