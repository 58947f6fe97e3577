// Definition and checks of the settings. See server_settings.hpp.
#include "server_settings.hpp"

#include "core/traceparent.hpp"

namespace ecto_job::settings {

bool enabled = true;
char *databases = nullptr;
int max_queues = 1024;
int further_queues = 100'000;
int sweep_timeout_ms = 10'000;
int safety_interval_ms = 600'000;
int log_min_duration_ms = -1;
bool session_leases = false;
char *traceparent = nullptr;

namespace {

// Visits the names of a list. Returns false if the text is no such list.
template <typename F> bool for_each_name(const char *list, F visit) {
    char *const copy = pstrdup(list);
    List *names = NIL;
    const bool valid = SplitIdentifierString(copy, ',', &names);
    for (int i = 0; i < list_length(names); i++)
        visit(static_cast<const char *>(list_nth(names, i)));
    list_free(names);
    pfree(copy);
    return valid;
}

bool check_databases(char **value, void **, GucSource) {
    const bool valid = strcmp(*value, "*") == 0 || for_each_name(*value, [](const char *) {});
    if (!valid)
        GUC_check_errdetail("It is a list of database names, or '*' for all of them.");
    return valid;
}

bool check_traceparent(char **value, void **, GucSource) {
    const bool valid = **value == '\0' || is_traceparent(*value);
    if (!valid)
        GUC_check_errdetail("It is empty, or a traceparent of W3C Trace Context, such as "
                            "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\".");
    return valid;
}

} // namespace

void define(bool preloading) {
    DefineCustomBoolVariable("ecto_job.enabled",
                             "Lets the schedulers of all databases sweep queues.",
                             "Off is the emergency stop: the schedulers stay and do nothing.",
                             &enabled, true, PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    DefineCustomStringVariable("ecto_job.databases",
                               "Databases where the launcher looks for queues.",
                               "A list of names, or '*' for all.", &databases, "*", PGC_SIGHUP,
                               GUC_LIST_INPUT, check_databases, nullptr, nullptr);
    DefineCustomIntVariable(
        "ecto_job.sweep_timeout", "Longest time of one transaction of a sweep.",
        "A transaction that does not stop then is ended, with its scheduler, at twice the time.",
        &sweep_timeout_ms, 10'000, 100, 3'600'000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr,
        nullptr);
    DefineCustomIntVariable(
        "ecto_job.safety_interval", "Longest time between two full sweeps of a queue.",
        "In between the scheduler sweeps when a job is due or its lease ends. Without preload it "
        "is the queue's poll_interval.",
        &safety_interval_ms, 600'000, 1000, 86'400'000, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr,
        nullptr);
    DefineCustomIntVariable("ecto_job.log_min_duration",
                            "Logs the batches of sweeps that took at least this long.",
                            "0 logs each that changed a job, -1 none.", &log_min_duration_ms, -1,
                            -1, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, nullptr, nullptr, nullptr);
    DefineCustomBoolVariable("ecto_job.session_leases",
                             "Gives the jobs that this session starts back when it ends.",
                             "For consumers that keep their connection. Needs the library in "
                             "shared_preload_libraries.",
                             &session_leases, false, PGC_USERSET, 0, nullptr, nullptr, nullptr);
    DefineCustomStringVariable(
        "ecto_job.traceparent", "Trace that the jobs which this session enqueues belong to.",
        "A W3C traceparent, which enqueue() adds to the job's meta.", &traceparent, "", PGC_USERSET,
        0, check_traceparent, nullptr, nullptr);
    if (!preloading)
        return;
    DefineCustomIntVariable(
        "ecto_job.max_queues",
        "Number of queues, in all databases, whose places in shared memory are reserved.",
        "Up to 100,000 more take theirs when they come. Queues past those work too: sessions "
        "notify by themselves, and what is due is found by poll_interval.",
        &max_queues, 1024, 1, 1'000'000, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("ecto_job.further_queues",
                            "Number of queues past max_queues with a place in shared memory.",
                            "For tests of that limit.", &further_queues, 100'000, 0, 1'000'000,
                            PGC_POSTMASTER, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, nullptr, nullptr,
                            nullptr);
    MarkGUCPrefixReserved("ecto_job");
}

bool lists_database(const char *name) {
    bool listed = strcmp(databases, "*") == 0;
    for_each_name(databases, [&](const char *one) { listed = listed || strcmp(one, name) == 0; });
    return listed;
}

} // namespace ecto_job::settings
