// The errors of completions that deleted no row. See stale_completion.hpp.
#include "queue/stale_completion.hpp"

#include <algorithm>

#include "queue/run_statement.hpp"

namespace ecto_job {

namespace {

constexpr int sqlstate_stale = MAKE_SQLSTATE('J', 'Q', '0', '0', '1');

// Raises the error for jobs whose rows exist and which are the caller's.
[[noreturn]] void raise_kept(const Queue *queue, const char *jobs) {
    ereport(
        ERROR,
        (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
         errmsg("queue \"%s\" did not let go of %s", NameStr(queue->table), jobs),
         errdetail("A BEFORE DELETE trigger or a policy of the table keeps the row."),
         errhint("A trigger must return OLD, and a policy FOR DELETE allow it. To keep finished "
                 "jobs, write them into another table.")));
}

// Returns whether the job, in a row of holder_of_job, is the holder's.
bool is_held_by(const Row &job, const Holder &holder) {
    if (holder.lease && job.find<AnyInteger>("lease") != holder.lease)
        return false;
    if (holder.attempt)
        return job.find<AnyInteger>("attempt") == *holder.attempt;
    const std::optional<const char *> state = job.get<Shown>("state");
    return state && is_held(state_from(*state));
}

struct LeasedJob {
    int64 id;
    int64 lease;

    friend bool operator<(const LeasedJob &a, const LeasedJob &b) {
        return a.id != b.id ? a.id < b.id : a.lease < b.lease;
    }
};

// Jobs in the memory of the running statement
using LeasedJobs = std::span<LeasedJob>;

LeasedJobs room_for(Size count) {
    return {static_cast<LeasedJob *>(palloc((count + 1) * sizeof(LeasedJob))), count};
}

// Returns the last statement's rows, sorted.
LeasedJobs leased_jobs() {
    const Rows rows;
    const Column<AnyInteger> id(rows, "id");
    const Column<AnyInteger> lease(rows, "lease");
    const LeasedJobs jobs = room_for(rows.size());
    for (Size row = 0; row < jobs.size(); row++)
        jobs[row] = {id[row].value_or(0), lease[row].value_or(0)};
    std::sort(jobs.begin(), jobs.end());
    return jobs;
}

// Removes the jobs that are among `others`, and returns those that are left.
LeasedJobs without(LeasedJobs jobs, LeasedJobs others) {
    const auto left = std::remove_if(jobs.begin(), jobs.end(), [others](const LeasedJob &job) {
        return std::binary_search(others.begin(), others.end(), job);
    });
    return jobs.first(static_cast<Size>(left - jobs.begin()));
}

const char *ids_of(LeasedJobs jobs) {
    constexpr Size shown_at_most = 100;
    StringInfoData text;
    initStringInfo(&text);
    for (Size i = 0; i < std::min(jobs.size(), shown_at_most); i++)
        appendStringInfo(&text, "%s" INT64_FORMAT, i == 0 ? "" : ", ", jobs[i].id);
    if (jobs.size() > shown_at_most)
        appendStringInfo(&text, " and %zu more", jobs.size() - shown_at_most);
    return text.data;
}

} // namespace

std::span<const int64> elements_of(ArrayType *array) {
    return {reinterpret_cast<const int64 *>(ARR_DATA_PTR(array)),
            static_cast<Size>(ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)))};
}

std::optional<int64> only_lease(ArrayType *leases) {
    const std::span<const int64> all = elements_of(leases);
    const bool is_one = !all.empty() && std::ranges::count(all, all[0]) == std::ssize(all);
    return is_one ? std::optional(all[0]) : std::nullopt;
}

void raise_stale(Queue *queue, int64 id, const Holder &holder) {
    const char *found = "It is gone.";
    if (run(queue, Statement::holder_of_job, {.id = id}) > 0) {
        // The first of several, where the table's owner has dropped the primary key
        const Row job = Rows()[0];
        if (is_held_by(job, holder))
            raise_kept(queue, psprintf("job " INT64_FORMAT, id));
        found = psprintf("It is %s, under another lease or none, at attempt %s.",
                         job.get<Shown>("state").value_or("(null)"),
                         job.get<Shown>("attempt").value_or("(null)"));
    }
    ereport(
        ERROR,
        (errcode(sqlstate_stale),
         errmsg("job " INT64_FORMAT " of queue \"%s\" is no longer yours", id,
                NameStr(queue->table)),
         errdetail("%s", found),
         errhint(
             "Roll back; do not retry: it was done or cancelled, or another consumer has it.")));
}

void raise_if_stale(Queue *queue, ArrayType *ids, ArrayType *leases) {
    LeasedJobs left = room_for(elements_of(ids).size());
    for (Size i = 0; i < left.size(); i++)
        left[i] = {elements_of(ids)[i], elements_of(leases)[i]};
    left = without(left, leased_jobs());
    if (left.empty())
        return;
    run(queue, Statement::kept_jobs, {.ids = ids, .lease = only_lease(leases), .leases = leases});
    const char *const left_ids = ids_of(left);
    const LeasedJobs stale = without(left, leased_jobs());
    if (stale.empty())
        raise_kept(queue, psprintf("jobs %s", left_ids));
    ereport(ERROR, (errcode(sqlstate_stale),
                    errmsg("%zu of %zu jobs of queue \"%s\" are no longer yours", stale.size(),
                           elements_of(ids).size(), NameStr(queue->table)),
                    errdetail("Stale: %s.", ids_of(stale)),
                    errhint("Roll back; do not retry these: others have them or have done them.")));
}

} // namespace ecto_job
