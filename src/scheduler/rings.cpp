// From flags to notifications. See rings.hpp.
#include "scheduler/rings.hpp"

#include <algorithm>

#include "queue/notices.hpp"
#include "scheduler/attempt.hpp"
#include "shared/doorbell.hpp"

namespace ecto_job {

namespace {

// Being announced: if that ends us, the next scheduler has to
Oid taken[64];
int taken_count = 0;

bool told_of_failure = false;
bool sent = false; // since the last pause

// As it is committed now. Not from the caches: who rang may have renamed the table, and sends its
// invalidations after it has rung.
const char *present_name(Oid table) {
    Relation catalog = table_open(RelationRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, ClassOidIndexId, true, nullptr, 1, &key);
    HeapTuple const row = systable_getnext(scan);
    const char *const name =
        HeapTupleIsValid(row)
            ? pstrdup(NameStr(reinterpret_cast<Form_pg_class>(GETSTRUCT(row))->relname))
            : nullptr;
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return name;
}

void notify(const Oid *queues, int count) {
    // Nothing is written, so nothing need be flushed; and what is announced has been
    set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
                      true, 0, false);
    for (int i = 0; i < count; i++)
        if (const char *const table = present_name(queues[i]))
            send_notice(queues[i], table, Notice::available, "");
}

void put_taken_back() {
    ring_again(taken, taken_count);
    taken_count = 0;
}

void at_exit(int, Datum) {
    put_taken_back();
}

} // namespace

void prepare_rings() {
    before_shmem_exit(at_exit, 0);
}

bool send_rings() {
    constexpr int at_once = lengthof(taken);
    int count = at_once;
    while (count == at_once) {
        count = taken_count = take_rings(taken, at_once);
        const ErrorData *const error =
            count > 0 ? attempt([] { notify(taken, taken_count); }) : nullptr;
        if (error == nullptr) {
            sent = sent || count > 0;
            taken_count = 0;
            continue;
        }
        put_taken_back();
        if (!told_of_failure)
            ereport(WARNING, (errcode(error->sqlerrcode),
                              errmsg("notifying consumers failed: %s", error->message),
                              errhint("It is tried again every second; meanwhile consumers find "
                                      "jobs by polling, and nothing that is due moves.")));
        told_of_failure = true;
        return false;
    }
    told_of_failure = false;
    return true;
}

void gather_rings() {
    constexpr long shortest_us = 1000;
    constexpr long longest_us = 4000;
    static long pause_us = shortest_us;
    if (!sent)
        return;
    sent = false;
    pg_usleep(pause_us);
    pause_us = MyLatch->is_set ? std::min(2 * pause_us, longest_us) : shortest_us;
}

} // namespace ecto_job
