// Telling why a completion completed nothing. See stale_jobs.hpp.
#include "queue/stale_jobs.hpp"

#include <algorithm>

#include "queue/run_statement.hpp"

namespace ecto_job {

namespace {

constexpr int sqlstate_stale = MAKE_SQLSTATE('J', 'Q', '0', '0', '1');

// The rows of these are there, and the caller's
[[noreturn]] void raise_kept(const Queue *queue, const char *jobs) {
    ereport(
        ERROR,
        (errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
         errmsg("queue \"%s\" did not let go of %s", NameStr(queue->table), jobs),
         errdetail("A BEFORE DELETE trigger or a policy of the table keeps the row."),
         errhint("A trigger must return OLD, and a policy FOR DELETE allow it. To keep finished "
                 "jobs, write them into another table.")));
}

// `found`: the row of holder_of_job
bool is_held_by(const Rows &found, const Holder &holder) {
    const Row job = found.only();
    if (holder.lease && job.find<AnyInteger>("lease") != holder.lease)
        return false;
    if (holder.attempt)
        return job.find<AnyInteger>("attempt") == *holder.attempt;
    return is_held(StateColumn(found)[0]);
}

struct Held {
    int64 id;
    int64 lease;
};

int compare_held(const void *a, const void *b) {
    const auto &left = *static_cast<const Held *>(a);
    const auto &right = *static_cast<const Held *>(b);
    if (left.id != right.id)
        return left.id < right.id ? -1 : 1;
    return left.lease < right.lease ? -1 : left.lease > right.lease ? 1 : 0;
}

struct HeldList {
    Held *jobs;
    Size count;
};

// The last statement's rows
HeldList held_rows() {
    const Rows rows;
    const Column<Int8> id(rows, "id");
    const Column<Int8> lease(rows, "lease");
    const Size count = rows.size();
    HeldList list{static_cast<Held *>(palloc((count + 1) * sizeof(Held))), count};
    for (Size row = 0; row < count; row++)
        list.jobs[row] = {id[row].value_or(0), lease[row].value_or(0)};
    qsort(list.jobs, count, sizeof(Held), compare_held);
    return list;
}

// Those of the pairs that are not among `others`
HeldList pairs_but(ArrayType *ids, ArrayType *leases, const HeldList &others) {
    const auto count = static_cast<Size>(ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)));
    HeldList list{static_cast<Held *>(palloc((count + 1) * sizeof(Held))), 0};
    for (Size i = 0; i < count; i++) {
        const Held pair{elements_of(ids)[i], elements_of(leases)[i]};
        if (bsearch(&pair, others.jobs, others.count, sizeof(Held), compare_held) == nullptr)
            list.jobs[list.count++] = pair;
    }
    return list;
}

const char *ids_of(const HeldList &list) {
    constexpr Size shown_at_most = 100;
    StringInfoData text;
    initStringInfo(&text);
    for (Size i = 0; i < std::min(list.count, shown_at_most); i++)
        appendStringInfo(&text, "%s" INT64_FORMAT, i == 0 ? "" : ", ", list.jobs[i].id);
    if (list.count > shown_at_most)
        appendStringInfo(&text, " and %zu more", list.count - shown_at_most);
    return text.data;
}

} // namespace

const int64 *elements_of(ArrayType *array) {
    return reinterpret_cast<const int64 *>(ARR_DATA_PTR(array));
}

std::optional<int64> only_lease(ArrayType *leases) {
    const int64 *const first = elements_of(leases);
    const int count = ArrayGetNItems(ARR_NDIM(leases), ARR_DIMS(leases));
    return count > 0 && std::equal(first + 1, first + count, first) ? std::optional(*first)
                                                                    : std::nullopt;
}

void raise_stale(Queue *queue, int64 id, const Holder &holder) {
    const char *found = "It is gone.";
    if (run(queue, Statement::holder_of_job, {.id = id}) > 0) {
        const Rows rows;
        if (is_held_by(rows, holder))
            raise_kept(queue, psprintf("job " INT64_FORMAT, id));
        found = psprintf("It is %s, under another lease or none, at attempt %s.",
                         rows.only().get<Shown>("state").value_or("(null)"),
                         rows.only().get<Shown>("attempt").value_or("(null)"));
    }
    ereport(ERROR, (errcode(sqlstate_stale),
                    errmsg("job " INT64_FORMAT " of queue \"%s\" is no longer yours", id,
                           NameStr(queue->table)),
                    errdetail("%s", found),
                    errhint("Roll back; do not retry: another consumer has it or has done it.")));
}

void raise_if_stale(Queue *queue, ArrayType *ids, ArrayType *leases) {
    const HeldList left = pairs_but(ids, leases, held_rows());
    if (left.count == 0)
        return;
    run(queue, Statement::kept_jobs, {.ids = ids, .lease = only_lease(leases), .leases = leases});
    const HeldList kept = held_rows();
    // What was done is not there any more, and so is not among the kept
    Size stale_count = 0;
    for (Size i = 0; i < left.count; i++)
        if (bsearch(&left.jobs[i], kept.jobs, kept.count, sizeof(Held), compare_held) == nullptr)
            left.jobs[stale_count++] = left.jobs[i];
    if (stale_count == 0)
        raise_kept(queue, psprintf("jobs %s", ids_of(left)));
    const HeldList stale{left.jobs, stale_count};
    ereport(ERROR, (errcode(sqlstate_stale),
                    errmsg("%zu of %d jobs of queue \"%s\" are no longer yours", stale.count,
                           ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)), NameStr(queue->table)),
                    errdetail("Stale: %s.", ids_of(stale)),
                    errhint("Roll back; do not retry these: others have them or have done them.")));
}

} // namespace ecto_job
