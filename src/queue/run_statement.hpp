// The execution of a queue's statements, and the columns of their rows.
//
// SPI is connected. A statement's rows are SPI's (pg/row.hpp) until the next statement runs.
#pragma once

#include <optional>

#include "core/job_state.hpp"
#include "core/key.hpp"
#include "pg/pg.hpp"
#include "pg/row.hpp"
#include "queue/parameters.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Runs the statement with the arguments that its text names, and returns the number of rows.
// ERROR 55000 if a rule replaces the statement, or the table was renamed.
uint64 run(Queue *queue, Statement statement, const Arguments &arguments);

// Returns whether run() is changing the table's rows. By this our trigger tells a change by run()
// from one by EctoJob's library: both start a reserved job without changing its lease, so the row
// does not show which did it.
bool is_own_statement(Oid table);

// Returns an array of bigints as an argument.
ArrayType *bigint_array(Datum *elements, int64 count);

// The column state of a result. A trigger of the table's owner may have changed the state.
class StateColumn {
public:
    explicit StateColumn(const Rows &rows) : text_(rows, "state") {}

    std::optional<State> operator[](uint64 row) const;

private:
    Column<Shown> text_;
};

// The keys of a result's jobs, in the columns priority, schedule and id
class KeyColumns {
public:
    // ERROR 42804 if the table's owner has given one of the columns another type.
    explicit KeyColumns(const Rows &rows);
    // Returns whether the columns have their types.
    static bool fit(const Columns &columns);

    JobKey operator[](uint64 row) const;

private:
    Column<OrDomain<Int4>> priority_;
    Column<OrDomain<Timestamptz>> schedule_;
    Column<OrDomain<Int8>> id_;
};

} // namespace ecto_job
