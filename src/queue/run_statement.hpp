// Running a queue's statements: their parameters, and what their rows hold.
//
// SPI is connected. A statement's rows are in SPI_tuptable, their number in SPI_processed, until
// the next one runs.
#pragma once

#include <optional>

#include "core/key.hpp"
#include "core/state.hpp"
#include "pg/pg.hpp"
#include "queue/parameters.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Runs the statement with those of the arguments that it names, and returns the number of rows.
// ERROR 55000 if a rule replaces the statement, or the table was renamed.
uint64 run(Queue *queue, Statement statement, const Arguments &arguments);

// A bigint of a row. ERROR 42804 if the table's owner has made the column something else.
int64 bigint_of(uint64 row, const char *column);

// The text of a column of a row; null pointer for NULL
const char *text_of(uint64 row, const char *column);

// The state as it is after the statement: a trigger of the owner's may have had its say
std::optional<State> state_of(uint64 row);

// The key of a statement's only row, which has nothing but the three columns of it
JobKey key_of_only_row();

} // namespace ecto_job
