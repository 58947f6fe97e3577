// DDL on queues' tables. See ddl.hpp.
//
// All of it changes catalogs only: no table is rewritten or read.
#include "table/ddl.hpp"

#include "table/later_columns.hpp"

namespace ecto_job {

namespace {

constexpr int lock_timeout_ms = 2000;

void hint_at_trying_again(void *) {
    if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
        errhint("A transaction uses the queue's table. Try again, or when fewer do.");
}

// Writes the row of a column as ANALYZE would, with the number of different values only.
void write_statistics(Oid table, AttrNumber column, float4 different_values) {
    Datum values[Natts_pg_statistic]{};
    bool nulls[Natts_pg_statistic]{};
    const auto set = [&values](int attribute, Datum value) { values[attribute - 1] = value; };
    constexpr int32 width = 10;
    set(Anum_pg_statistic_starelid, ObjectIdGetDatum(table));
    set(Anum_pg_statistic_staattnum, Int16GetDatum(column));
    set(Anum_pg_statistic_stawidth, Int32GetDatum(width));
    set(Anum_pg_statistic_stadistinct, Float4GetDatum(different_values));
    for (int i = 0; i < STATISTIC_NUM_SLOTS; i++)
        nulls[Anum_pg_statistic_stanumbers1 - 1 + i] = nulls[Anum_pg_statistic_stavalues1 - 1 + i] =
            true;
    Relation statistics = table_open(StatisticRelationId, RowExclusiveLock);
    CatalogTupleInsert(statistics, heap_form_tuple(RelationGetDescr(statistics), values, nulls));
    table_close(statistics, RowExclusiveLock);
}

} // namespace

void execute(const char *text) {
    const int result = SPI_execute(text, false, 0);
    if (result < 0)
        elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
}

void lock_briefly(Oid table) {
    const int nest = NewGUCNestLevel();
    if (LockTimeout == 0 || LockTimeout > lock_timeout_ms)
        set_config_option("lock_timeout", psprintf("%dms", lock_timeout_ms), PGC_USERSET,
                          PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    ErrorContextCallback hint{error_context_stack, hint_at_trying_again, nullptr};
    error_context_stack = &hint;
    LockRelationOid(table, AccessExclusiveLock);
    error_context_stack = hint.previous;
    AtEOXact_GUC(false, nest);
}

void comment_column(const char *table, const ColumnComment &comment) {
    execute(psprintf("COMMENT ON COLUMN %s.%s IS %s", table, quote_identifier(comment.column),
                     quote_literal_cstr(comment.comment)));
}

void comment_added_columns(const char *table, const char *actions) {
    const auto comment = [table, actions](const ColumnComment &column) {
        if (column.comment != nullptr &&
            (actions == nullptr ||
             strstr(actions, psprintf(" ADD COLUMN %s ", quote_identifier(column.column)))))
            comment_column(table, column);
    };
    for (const ColumnComment &column : added_columns)
        comment(column);
    for (const LaterColumn &column : later_columns())
        comment({column.name, column.comment});
}

void fix_state_statistics(Oid oid, const char *table) {
    // ANALYZE then skips the column and keeps its statistics
    execute(psprintf("ALTER TABLE ONLY %s ALTER COLUMN state SET STATISTICS 0", table));
    const AttrNumber column = get_attnum(oid, "state");
    RemoveStatistics(oid, column);
    constexpr float4 different_values = 20;
    write_statistics(oid, column, different_values);
}

void restore_state_statistics(const char *table) {
    execute(psprintf("ALTER TABLE ONLY %s ALTER COLUMN state SET STATISTICS -1", table));
}

} // namespace ecto_job
