// Index scans without a plan. See job_walk.hpp.
#include "table/job_walk.hpp"

#include <algorithm>

#include "pg/compat.hpp"
#include "pg/row.hpp"

namespace ecto_job {

namespace {

// The predicate of an index, as far as it matters here
enum class Predicate { none, in_play, not_in_play, other };

struct Rule {
    const char *first_column;
    Predicate predicate;
};

constexpr Rule rule_for(JobIndex wanted) {
    switch (wanted) {
    case JobIndex::in_play:
        return {"priority", Predicate::in_play};
    case JobIndex::waiting:
        return {"schedule", Predicate::not_in_play};
    case JobIndex::all:
        break;
    }
    return {"id", Predicate::none};
}

constexpr Size longest_name =
    name(*std::max_element(all_states.begin(), all_states.end(), [](State a, State b) {
        return name(a).size() < name(b).size();
    })).size();

bool is_column(const Node *node, AttrNumber column) {
    return IsA(node, Var) && reinterpret_cast<const Var *>(node)->varattno == column;
}

// Reads the predicate as it is stored. RelationGetIndexPredicate() would simplify it, which may run
// a function of the table's owner.
Predicate predicate_of(Relation index, AttrNumber in_play) {
    bool is_null = false;
    const Datum stored =
        SysCacheGetAttr(INDEXRELID, index->rd_indextuple, Anum_pg_index_indpred, &is_null);
    if (is_null)
        return Predicate::none;
    const auto *const node = static_cast<const Node *>(stringToNode(TextDatumGetCString(stored)));
    if (!AttributeNumberIsValid(in_play))
        return Predicate::other;
    if (is_column(node, in_play))
        return Predicate::in_play;
    if (!IsA(node, BoolExpr))
        return Predicate::other;
    const auto *const expression = reinterpret_cast<const BoolExpr *>(node);
    return expression->boolop == NOT_EXPR &&
                   is_column(static_cast<const Node *>(linitial(expression->args)), in_play)
               ? Predicate::not_in_play
               : Predicate::other;
}

// Returns whether the snapshot may use the index: the planner's rule for an index that was built
// while rows changed.
bool has_all_rows(Relation index) {
    return index->rd_index->indisvalid &&
           (!index->rd_index->indcheckxmin ||
            TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
                                  TransactionXmin));
}

bool is_index_for(Relation table, Relation index, JobIndex wanted) {
    const Rule rule = rule_for(wanted);
    const Oid oid = RelationGetRelid(table);
    const AttrNumber first = get_attnum(oid, rule.first_column);
    return index->rd_rel->relam == BTREE_AM_OID && has_all_rows(index) &&
           AttributeNumberIsValid(first) && index->rd_index->indkey.values[0] == first &&
           index->rd_indoption[0] == 0 && // ascending
           predicate_of(index, get_attnum(oid, "in_play")) == rule.predicate;
}

} // namespace

Oid find_job_index(Relation table, JobIndex wanted) {
    List *const indexes = RelationGetIndexList(table);
    Oid found = InvalidOid;
    for (int i = 0; i < list_length(indexes) && !OidIsValid(found); i++) {
        Relation const index = index_open(list_nth_oid(indexes, i), AccessShareLock);
        if (is_index_for(table, index, wanted))
            found = RelationGetRelid(index);
        index_close(index, AccessShareLock); // the table's lock keeps it
    }
    return found;
}

JobWalk begin_job_walk(Relation table, Oid index, ScanDirection direction, int64 rows,
                       int64 entries) {
    JobWalk walk{};
    walk.table = table;
    walk.state =
        static_cast<AttrNumber>(row_of(table, nullptr).columns.number_of<AnyText>("state"));
    walk.direction = direction;
    walk.rows_left = rows;
    walk.entries_left = entries;
    walk.index = index_open(index, AccessShareLock);
    walk.slot = table_slot_create(table, nullptr);
    walk.scan = begin_index_scan(table, walk.index, GetActiveSnapshot(), 0);
    index_rescan(walk.scan, nullptr, 0, nullptr, 0);
    return walk;
}

bool next_job(JobWalk *walk) {
    while (index_getnext_tid(walk->scan, walk->direction) != nullptr) {
        CHECK_FOR_INTERRUPTS();
        if (walk->entries_left-- == 0)
            return false;
        if (index_fetch_heap(walk->scan, walk->slot))
            return walk->rows_left-- > 0; // one job more than allowed shows that there are more
    }
    walk->is_complete = true;
    return false;
}

void end_job_walk(JobWalk *walk) {
    index_endscan(walk->scan);
    ExecDropSingleTupleTableSlot(walk->slot);
    index_close(walk->index, AccessShareLock);
}

std::optional<State> state_of_job(const JobWalk &walk) {
    bool is_null = false;
    const Datum value = slot_getattr(walk.slot, walk.state, &is_null);
    if (is_null)
        return std::nullopt;
    // Without the CHECK a compressed value may have 1 GB, in each row
    if (toast_raw_datum_size(value) > VARHDRSZ + longest_name)
        return std::nullopt;
    const text *const state = DatumGetTextPP(value);
    return state_from({VARDATA_ANY(state), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(state))});
}

} // namespace ecto_job
