// The check of a table. See check.hpp.
//
// The check reads catalogs only, so its time does not depend on the table's size.
#include "table/check.hpp"

#include <iterator>

#include "core/table_layout.hpp"
#include "pg/compat.hpp"
#include "table/distribution.hpp"
#include "table/later_columns.hpp"

namespace ecto_job {

namespace {

constexpr int longest_state = 11; // IN_PROGRESS

// What makes a column: each of EctoJob's migrations, the migration to version 3, or adopt_queue()
enum class Maker { ectojob, version_3, adoption };

struct ColumnRule {
    const char *name;
    const char *type; // as messages name the type
    Oid types[2];
    bool is_nullable;
    Maker maker = Maker::ectojob;
};

// The columns of a queue but inserted_at and updated_at, which may have other names
constexpr ColumnRule rules[] = {
    {"id", "bigint", {INT8OID}, false},
    {"state", "text or character varying", {VARCHAROID, TEXTOID}, false},
    {"expires", "a timestamp", {TIMESTAMPOID, TIMESTAMPTZOID}, true},
    {"schedule", "a timestamp", {TIMESTAMPOID, TIMESTAMPTZOID}, false},
    {"attempt", "integer", {INT4OID}, false},
    {"max_attempts", "integer", {INT4OID}, false},
    {"params", "jsonb or bytea", {JSONBOID, BYTEAOID}, false},
    {"notify", "character varying(255)", {VARCHAROID}, true},
    {"priority", "integer", {INT4OID}, false, Maker::version_3},
    {"lease", "bigint", {INT8OID}, true, Maker::adoption},
    {"key", "text", {TEXTOID}, true, Maker::adoption},
    {"error", "text", {TEXTOID}, true, Maker::adoption},
    {"meta", "jsonb", {JSONBOID}, true, Maker::adoption},
};
static_assert(notify_characters == 255, "as the rule of notify says");

constexpr const char *utc_default = "pg_catalog.timezone('UTC', pg_catalog.now())";

void append_line(StringInfo lines, const char *line) {
    appendStringInfo(lines, "%s%s", lines->len > 0 ? "\n" : "", line);
}

// Returns the column of this name; null if there is none.
Form_pg_attribute find_column(TupleDesc columns, const char *name) {
    for (int i = 0; i < columns->natts; i++) {
        Form_pg_attribute const column = TupleDescAttr(columns, i);
        if (!column->attisdropped && strcmp(NameStr(column->attname), name) == 0)
            return column;
    }
    return nullptr;
}

bool is_time(Form_pg_attribute column) {
    return column->atttypid == TIMESTAMPOID || column->atttypid == TIMESTAMPTZOID;
}

int characters(Form_pg_attribute column) {
    return column->atttypmod < 0 ? -1 : column->atttypmod - static_cast<int>(VARHDRSZ);
}

bool has_right_type(Form_pg_attribute column, const ColumnRule &rule) {
    if (column->atttypid != rule.types[0] && column->atttypid != rule.types[1])
        return false;
    if (strcmp(rule.name, "notify") == 0) // a longer payload would make each completion fail
        return characters(column) >= 0 && characters(column) <= notify_characters;
    if (strcmp(rule.name, "state") == 0)
        return characters(column) < 0 || characters(column) >= longest_state;
    return true;
}

void check_column(Form_pg_attribute column, const ColumnRule &rule, StringInfo misfits) {
    if (!has_right_type(column, rule))
        append_line(misfits, psprintf("Column \"%s\" is %s, not %s.", rule.name,
                                      format_type_with_typemod(column->atttypid, column->atttypmod),
                                      rule.type));
    else if (column->attgenerated != '\0')
        append_line(misfits, psprintf("Column \"%s\" is generated.", rule.name));
    else if (rule.is_nullable && column->attnotnull)
        append_line(misfits, psprintf("Column \"%s\" is NOT NULL.", rule.name));
    else if (!rule.is_nullable && !column->attnotnull)
        append_line(misfits, psprintf("Column \"%s\" is not NOT NULL.", rule.name));
}

void append_new_column(StringInfo lacks, const char *name, const char *type) {
    appendStringInfo(lacks, "%s ADD COLUMN %s %s", lacks->len > 0 ? "," : "",
                     quote_identifier(name), type);
}

// Checks the columns of later versions. The application may have a column of that name, too.
void check_later_columns(TupleDesc columns, StringInfo misfits, StringInfo lacks) {
    for (const LaterColumn &later : later_columns()) {
        Form_pg_attribute const column = find_column(columns, later.name);
        if (column != nullptr)
            check_column(
                column,
                {later.name, later.type, {later.type_oid, later.type_oid}, true, Maker::adoption},
                misfits);
        else
            append_new_column(lacks, later.name, later.type);
    }
}

// Returns the rule for a column; null for the application's own column.
const ColumnRule *rule_for(const char *name) {
    for (const ColumnRule &rule : rules)
        if (strcmp(rule.name, name) == 0)
            return &rule;
    return nullptr;
}

// Returns the default of the column max_attempts; EctoJob's default if the column's is out of
// range, or an expression, which is the table owner's code and must not run with the caller's
// rights.
int32 default_of_max_attempts(Relation table, Form_pg_attribute column) {
    Node *const value = build_column_default(table, column->attnum);
    if (value == nullptr || !IsA(value, Const))
        return default_max_attempts;
    const auto *const number = reinterpret_cast<Const *>(value);
    const int32 attempts = number->constisnull ? 0 : DatumGetInt32(number->constvalue);
    return attempts < 1 ? default_max_attempts : attempts;
}

// Returns whether Ecto's macro `timestamps` may have made the column, which is then NOT NULL and
// has no default. With other such columns the library could not insert a job.
bool may_be_timestamp(Form_pg_attribute column) {
    return !column->attisdropped && is_time(column) && column->attnotnull && !column->atthasdef &&
           rule_for(NameStr(column->attname)) == nullptr;
}

// Returns whether there is a column of this name; a null pointer names none.
bool is_named(Form_pg_attribute column, const char *name) {
    return name != nullptr && strcmp(NameStr(column->attname), name) == 0;
}

// Finds the columns that keep a job's times: as given, by their usual names, or else the columns
// that only `timestamps` makes.
void find_timestamps(TupleDesc columns, const TimestampNames &given, TableCheck *check,
                     StringInfo misfits) {
    const auto usual = [columns](const char *name) {
        return find_column(columns, name) != nullptr ? name : nullptr;
    };
    check->inserted_at = given.inserted_at.value_or(usual("inserted_at"));
    check->updated_at = given.updated_at.value_or(usual("updated_at"));
    const bool wants_inserted = !given.inserted_at && check->inserted_at == nullptr;
    const bool wants_updated = !given.updated_at && check->updated_at == nullptr;
    const int wanted = (wants_inserted ? 1 : 0) + (wants_updated ? 1 : 0);
    List *candidates = NIL;
    for (int i = 0; i < columns->natts; i++) {
        Form_pg_attribute const column = TupleDescAttr(columns, i);
        if (may_be_timestamp(column) && !is_named(column, check->inserted_at) &&
            !is_named(column, check->updated_at))
            candidates = lappend(candidates, pstrdup(NameStr(column->attname)));
    }
    if (wanted > 0 && list_length(candidates) > wanted) {
        append_line(misfits, "More than one column may be inserted_at or updated_at; "
                             "timestamps_opts can name them.");
        return;
    }
    // In the order in which Ecto makes them. A single candidate for two is inserted_at, which we
    // never write
    if (wants_inserted && candidates != NIL)
        check->inserted_at = static_cast<const char *>(linitial(candidates));
    if (wants_updated && list_length(candidates) == wanted)
        check->updated_at = static_cast<const char *>(llast(candidates));
}

void check_timestamp(TupleDesc columns, const char *name, StringInfo misfits, StringInfo lacks) {
    if (name == nullptr)
        return;
    Form_pg_attribute const column = find_column(columns, name);
    if (column == nullptr) {
        append_line(misfits, psprintf("Column \"%s\" is missing.", name));
    } else if (!is_time(column) || column->attgenerated != '\0' || rule_for(name) != nullptr) {
        append_line(misfits, psprintf("Column \"%s\" is no timestamp for \"inserted_at\" or "
                                      "\"updated_at\".",
                                      name));
    } else if (!column->atthasdef) {
        appendStringInfo(lacks, "%s ALTER COLUMN %s SET DEFAULT %s", lacks->len > 0 ? "," : "",
                         quote_identifier(name),
                         column->atttypid == TIMESTAMPOID ? utc_default : "pg_catalog.now()");
    }
}

// Checks that every column that enqueue() does not name is nullable or has a default.
void check_defaults(TupleDesc columns, const TableCheck &check, StringInfo misfits) {
    for (int i = 0; i < columns->natts; i++) {
        Form_pg_attribute const column = TupleDescAttr(columns, i);
        const char *const name = NameStr(column->attname);
        const ColumnRule *const rule = rule_for(name);
        if (rule != nullptr && rule->is_nullable)
            continue;
        if (!column->attisdropped && column->attnotnull && !column->atthasdef &&
            column->attidentity == '\0' && !is_named(column, "params") &&
            !is_named(column, check.inserted_at) && !is_named(column, check.updated_at))
            append_line(misfits, psprintf("Column \"%s\" is NOT NULL and has no default.", name));
    }
}

// Returns whether a usable index begins with these columns; `partial`: also a partial index, such
// as that of a queue, which has the rows in play only.
bool has_index(Relation table, const char *const *names, int count, bool unique, bool partial) {
    bool found = false;
    List *const indexes = RelationGetIndexList(table);
    ListCell *cell;
    foreach (cell, indexes) {
        HeapTuple const tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
        if (!HeapTupleIsValid(tuple))
            continue;
        const auto *const index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
        bool fits = index->indisvalid && index->indnkeyatts >= count &&
                    (!unique ||
                     (index->indisunique && index->indimmediate && index->indnkeyatts == count)) &&
                    (partial || heap_attisnull(tuple, Anum_pg_index_indpred, nullptr)) &&
                    GetSysCacheOid1(RELOID, Anum_pg_class_relam,
                                    ObjectIdGetDatum(lfirst_oid(cell))) == BTREE_AM_OID;
        for (int i = 0; fits && i < count; i++)
            fits = index->indkey.values[i] == get_attnum(RelationGetRelid(table), names[i]);
        ReleaseSysCache(tuple);
        found = found || fits;
    }
    list_free(indexes);
    return found;
}

} // namespace

const char *fault_of_table(Relation table) {
    const Oid oid = RelationGetRelid(table);
    if (table->rd_rel->relkind != RELKIND_RELATION || table->rd_rel->relispartition)
        return "it is not an ordinary table";
    if (table->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
        return "it is not a permanent table";
    if (IsSystemRelation(table) || OidIsValid(getExtensionOfObject(RelationRelationId, oid)))
        return "it belongs to the system or to an extension";
    if (has_superclass(oid) || find_inheritance_children(oid, NoLock) != NIL)
        return "it takes part in inheritance";
    if (is_distributed_table(oid))
        return "Citus distributes it";
    return nullptr;
}

const char *missing_column(Relation table) {
    for (const ColumnRule &rule : rules) {
        Form_pg_attribute const column = find_column(RelationGetDescr(table), rule.name);
        if (rule.maker != Maker::version_3 && (column == nullptr || !has_right_type(column, rule)))
            return rule.name;
    }
    return nullptr;
}

AddedColumns check_added_columns(Relation table) {
    const TupleDesc columns = CreateTupleDescCopyConstr(RelationGetDescr(table));
    StringInfoData misfits;
    StringInfoData lacks;
    initStringInfo(&misfits);
    initStringInfo(&lacks);
    for (const ColumnRule &rule : rules)
        if (rule.maker == Maker::adoption && find_column(columns, rule.name) == nullptr)
            append_new_column(&lacks, rule.name, format_type_be_qualified(rule.types[0]));
    check_later_columns(columns, &misfits, &lacks);
    return {misfits.data, lacks.data};
}

TableCheck check_table(Relation table, const TimestampNames &given) {
    TableCheck check{};
    // A copy: names of types are looked up on the way, and ALTER TABLE need not wait for our lock
    const TupleDesc columns = CreateTupleDescCopyConstr(RelationGetDescr(table));
    StringInfoData misfits;
    StringInfoData lacks;
    initStringInfo(&misfits);
    initStringInfo(&lacks);
    for (const ColumnRule &rule : rules) {
        Form_pg_attribute const column = find_column(columns, rule.name);
        if (column != nullptr)
            check_column(column, rule, &misfits);
        else if (rule.maker == Maker::ectojob)
            append_line(&misfits, psprintf("Column \"%s\" is missing.", rule.name));
        else if (rule.maker == Maker::adoption)
            append_new_column(&lacks, rule.name, format_type_be_qualified(rule.types[0]));
    }
    check_later_columns(columns, &misfits, &lacks);
    find_timestamps(columns, given, &check, &misfits);
    check_timestamp(columns, check.inserted_at, &misfits, &lacks);
    check_timestamp(columns, check.updated_at, &misfits, &lacks);
    check_defaults(columns, check, &misfits);

    constexpr const char *key[] = {"id"};
    if (find_column(columns, "id") != nullptr && !has_index(table, key, 1, true, false))
        append_line(&misfits, "Column \"id\" is not the primary key.");
    check.misfits = misfits.data;
    check.lacks = lacks.data;
    if (misfits.len > 0)
        return check;

    check.has_priority = find_column(columns, "priority") != nullptr;
    constexpr const char *order[] = {"priority", "schedule", "id"};
    const int first = check.has_priority ? 0 : 1;
    const Form_pg_attribute in_play = find_column(columns, "in_play");
    check.has_index = has_index(table, order + first, static_cast<int>(std::size(order)) - first,
                                false, in_play != nullptr && in_play->attgenerated != '\0');
    check.binary = find_column(columns, "params")->atttypid == BYTEAOID;
    check.utc_schedule = find_column(columns, "schedule")->atttypid == TIMESTAMPOID;
    const AttrNumber state = find_column(columns, "state")->attnum;
    // A dump takes the target along, but not the statistics
    check.state_statistics_vary =
        statistics_target(RelationGetRelid(table), state) != 0 ||
        !SearchSysCacheExists3(STATRELATTINH, ObjectIdGetDatum(RelationGetRelid(table)),
                               Int16GetDatum(state), BoolGetDatum(false));
    check.max_attempts = default_of_max_attempts(table, find_column(columns, "max_attempts"));
    return check;
}

} // namespace ecto_job
