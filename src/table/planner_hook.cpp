// The hook on the planner's estimates. See planner_hook.hpp.
#include "table/planner_hook.hpp"

#include <algorithm>

#include "pg/boundary.hpp"

namespace ecto_job {

namespace {

// Large enough for an index to be worth it
constexpr BlockNumber least_pages = 1000;
constexpr double least_rows_a_page = 20;

get_relation_info_hook_type previous_hook = nullptr;

// The function ecto_job.clear_lease() of this database, whose trigger tells such a queue
struct LeaseFunction {
    bool known; // the rest is as the catalog has it
    bool has_schema;
    Oid oid;     // InvalidOid: there is none
    uint32 hash; // by which a change of it is told
    uint32 changes;
};
LeaseFunction lease_function{};

void forget_lease_function() {
    lease_function.known = false;
    lease_function.changes++;
}

void on_schema_change(Datum, int, uint32) {
    forget_lease_function();
}

// Others' functions come and go; the one that is not there yet may be any
void on_function_change(Datum, int, uint32 hash) {
    const LeaseFunction &ours = lease_function;
    if (hash == 0 || !ours.known ||
        (ours.has_schema && (!OidIsValid(ours.oid) || hash == ours.hash)))
        forget_lease_function();
}

void watch_lease_function() {
    static bool watching = false;
    if (watching)
        return;
    CacheRegisterSyscacheCallback(NAMESPACEOID, on_schema_change, 0);
    CacheRegisterSyscacheCallback(PROCOID, on_function_change, 0);
    watching = true;
}

// A change that is told meanwhile leaves it unknown
void look_up_lease_function() {
    watch_lease_function();
    const uint32 changes = lease_function.changes;
    const Oid schema = get_namespace_oid("ecto_job", true);
    const Oid function =
        OidIsValid(schema)
            ? GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("clear_lease"),
                              PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema))
            : InvalidOid;
    const uint32 hash = GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function));
    lease_function = {lease_function.changes == changes, OidIsValid(schema), function, hash,
                      lease_function.changes};
}

// Nothing that takes in invalidations is called while the relation cache's array is read
bool has_trigger(Relation table, Oid function) {
    const TriggerDesc *const triggers = table->trigdesc;
    if (triggers == nullptr || !triggers->trig_update_before_row)
        return false;
    return std::any_of(triggers->triggers, triggers->triggers + triggers->numtriggers,
                       [function](const Trigger &trigger) { return trigger.tgfoid == function; });
}

bool is_ectojobs_queue(Oid table) {
    if (!lease_function.known)
        look_up_lease_function();
    const Oid function = lease_function.oid;
    if (!OidIsValid(function))
        return false;
    Relation const relation = table_open(table, NoLock); // the planner has it locked
    const bool result = has_trigger(relation, function);
    table_close(relation, NoLock);
    return result;
}

// In most databases of a cluster there is nothing to look for: that is one comparison
bool may_be_ectojobs_queue(Oid table) {
    return table >= FirstNormalObjectId &&
           (!lease_function.known || OidIsValid(lease_function.oid));
}

void enlarge(RelOptInfo *table) {
    table->pages = std::max(table->pages, least_pages);
    table->tuples = std::max(table->tuples, table->pages * least_rows_a_page);
    ListCell *cell;
    foreach (cell, table->indexlist) {
        auto *const index = static_cast<IndexOptInfo *>(lfirst(cell));
        if (index->indpred == NIL)
            index->tuples = table->tuples;
    }
}

void on_relation_info(PlannerInfo *root, Oid table, bool inhparent, RelOptInfo *info) {
    if (previous_hook != nullptr)
        previous_hook(root, table, inhparent, info);
    if (inhparent || !may_be_ectojobs_queue(table))
        return;
    at_boundary([=] {
        if (is_ectojobs_queue(table))
            enlarge(info);
    });
}

} // namespace

void install_planner_hook() {
    previous_hook = get_relation_info_hook;
    get_relation_info_hook = on_relation_info;
}

} // namespace ecto_job
