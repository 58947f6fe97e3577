// The hook on the planner's estimates. See planner.hpp.
#include "queue/planner.hpp"

#include <algorithm>

#include "pg/boundary.hpp"
#include "queue/triggers.hpp"

namespace ecto_job {

namespace {

// Large enough for an index to be worth it
constexpr BlockNumber least_pages = 1000;
constexpr double least_rows_a_page = 20;

get_relation_info_hook_type previous_hook = nullptr;

bool is_ectojobs_queue(Oid table) {
    Relation const relation = table_open(table, NoLock); // the planner has it locked
    const bool result = clears_leases(relation);
    table_close(relation, NoLock);
    return result;
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
    at_boundary([=] {
        if (table >= FirstNormalObjectId && !inhparent && is_ectojobs_queue(table))
            enlarge(info);
    });
}

} // namespace

void install_planner_hook() {
    previous_hook = get_relation_info_hook;
    get_relation_info_hook = on_relation_info;
}

} // namespace ecto_job
