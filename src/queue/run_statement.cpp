// Running statements. See run_statement.hpp.
#include "queue/run_statement.hpp"

#include <variant>

#include "queue/plans.hpp"

namespace ecto_job {

namespace {

Oid changed_table = InvalidOid; // the table of the innermost statement that is running

// A statement's parameters, as SPI takes them
struct Values {
    int count = 0;
    Datum values[parameter_count];
    char nulls[parameter_count];

    void add_datum(Datum value) {
        values[count] = value;
        nulls[count++] = ' ';
    }
    void add_null() {
        values[count] = 0;
        nulls[count++] = 'n';
    }

    void add(std::int32_t value) { add_datum(Int32GetDatum(value)); }
    void add(std::int64_t value) { // a timestamptz, too
        add_datum(Int64GetDatum(value));
    }
    void add(double value) { add_datum(Float8GetDatum(value)); }
    void add(bool value) { add_datum(BoolGetDatum(value)); }
    void add(const void *value) {
        if (value != nullptr)
            add_datum(PointerGetDatum(value));
        else
            add_null();
    }
    template <typename T> void add(const std::optional<T> &value) {
        if (value)
            add(*value);
        else
            add_null();
    }
};

// Returns the value of a parameter: the argument itself, or one column of a key.
template <typename T> const T &value_of(const Arguments &arguments, T Arguments::*field) {
    return arguments.*field;
}
template <typename T>
std::optional<T> value_of(const Arguments &arguments, const KeyPart<T> &part) {
    const std::optional<JobKey> &key = arguments.*part.key;
    return key ? std::optional(*key.*part.column) : std::nullopt;
}

Values values_of(Statement statement, const Arguments &arguments) {
    Values values;
    for (const std::uint8_t at : parameters_of(statement)) {
        std::visit([&](auto field) { values.add(value_of(arguments, field)); },
                   parameters[at].field);
        if (!parameters[at].may_be_null && values.nulls[values.count - 1] != ' ')
            elog(ERROR, "statement %d of ecto_job lacks the argument \"%s\"",
                 static_cast<int>(statement), parameters[at].name.data());
    }
    return values;
}

// Returns what SPI_execute_plan returns.
int execute_own_statement(Oid table, SPIPlanPtr plan, Datum *values, const char *nulls) {
    const Oid outer = changed_table; // a trigger of the table's owner may have called run()
    int result = 0;
    Assert(OidIsValid(table));
    changed_table = table;
    PG_TRY();
    { result = SPI_execute_plan(plan, values, nulls, false, 0); }
    PG_FINALLY();
    { changed_table = outer; }
    PG_END_TRY();
    return result;
}

} // namespace

bool is_own_statement(Oid table) {
    return changed_table == table;
}

uint64 run(Queue *queue, Statement statement, const Arguments &arguments) {
    Values given = values_of(statement, arguments);
    SPIPlanPtr const plan = plan_for(queue, statement);
    const int result = execute_own_statement(queue->oid, plan, given.values, given.nulls);
    if (result < 0)
        elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
    if (result == SPI_OK_REWRITTEN)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("a rule of queue \"%s\" replaces what ecto_job does to its jobs",
                               NameStr(queue->table)),
                        errhint("Drop the rule; use a trigger instead.")));
    require_own_table(queue, plan);
    return SPI_processed;
}

ArrayType *bigint_array(Datum *elements, int64 count) {
    return construct_array(elements, static_cast<int>(count), INT8OID, sizeof(int64),
                           FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

std::optional<State> StateColumn::operator[](uint64 row) const {
    const std::optional<const char *> text = text_[row];
    return text ? state_from(*text) : std::nullopt;
}

KeyColumns::KeyColumns(const Rows &rows)
    : priority_(rows, "priority"), schedule_(rows, "schedule"), id_(rows, "id") {}

bool KeyColumns::fit(const Columns &columns) {
    return columns.find<OrDomain<Int4>>("priority") != 0 &&
           columns.find<OrDomain<Timestamptz>>("schedule") != 0 &&
           columns.find<OrDomain<Int8>>("id") != 0;
}

JobKey KeyColumns::operator[](uint64 row) const {
    return {priority_[row].value_or(0), schedule_[row].value_or(0), id_[row].value_or(0)};
}

} // namespace ecto_job
