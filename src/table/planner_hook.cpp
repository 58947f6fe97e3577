// The hook on the planner's estimates of a table. See planner_hook.hpp.
#include "table/planner_hook.hpp"

#include <algorithm>

#include "pg/boundary.hpp"

namespace ecto_job {

namespace {

// Estimates that are large enough for the planner to choose an index
constexpr BlockNumber least_pages = 1000;
constexpr double least_rows_a_page = 20;

get_relation_info_hook_type previous_hook = nullptr;

// The function ecto_job.clear_lease() of this database, whose trigger marks such a queue.
// InvalidOid: there is none. Up to date while `looked_up_at` equals `catalog_changes`.
Oid lease_function = InvalidOid;
uint64 catalog_changes = 1; // of schemas and functions, as far as this session knows
uint64 looked_up_at = 0;    // value of catalog_changes before the last look-up

void count_change(Datum, int, uint32) {
    catalog_changes++;
}

void look_up_lease_function() {
    static bool watching = false;
    if (!watching) {
        CacheRegisterSyscacheCallback(NAMESPACEOID, count_change, 0);
        CacheRegisterSyscacheCallback(PROCOID, count_change, 0);
        watching = true;
    }
    const uint64 before = catalog_changes; // a change during the look-up requires another one
    const Oid schema = get_namespace_oid("ecto_job", true);
    lease_function =
        OidIsValid(schema)
            ? GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("clear_lease"),
                              PointerGetDatum(buildoidvector(nullptr, 0)), ObjectIdGetDatum(schema))
            : InvalidOid;
    looked_up_at = before;
}

// Calls nothing that processes invalidations while it reads the relation cache's array.
bool has_trigger(Relation table, Oid function) {
    const TriggerDesc *const triggers = table->trigdesc;
    if (triggers == nullptr || !triggers->trig_update_before_row)
        return false;
    return std::any_of(triggers->triggers, triggers->triggers + triggers->numtriggers,
                       [function](const Trigger &trigger) { return trigger.tgfoid == function; });
}

bool is_ectojobs_queue(Oid table) {
    if (looked_up_at != catalog_changes)
        look_up_lease_function();
    if (!OidIsValid(lease_function))
        return false;
    Relation const relation = table_open(table, NoLock); // the planner has locked it
    const bool result = has_trigger(relation, lease_function);
    table_close(relation, NoLock);
    return result;
}

// Returns false, after one comparison, in a database without the extension.
bool may_be_ectojobs_queue(Oid table) {
    return table >= FirstNormalObjectId &&
           (looked_up_at != catalog_changes || OidIsValid(lease_function));
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
