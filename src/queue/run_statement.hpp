// Running a queue's statements: their parameters, and what their rows hold.
//
// SPI is connected. A statement's rows are in SPI_tuptable, their number in SPI_processed, until
// the next one runs.
#pragma once

#include <initializer_list>
#include <optional>

#include "core/key.hpp"
#include "core/state.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// A parameter: a value, or SQL's NULL
struct Parameter {
    Datum value;
    bool is_null;

    Parameter() : value(0), is_null(true) {}
    Parameter(Datum given) : value(given), is_null(false) {}
    Parameter(std::nullopt_t) : value(0), is_null(true) {}
    Parameter(std::optional<int64> given)
        : value(given ? Int64GetDatum(*given) : 0), is_null(!given) {}
    Parameter(std::optional<int32> given)
        : value(given ? Int32GetDatum(*given) : 0), is_null(!given) {}
};

// The number of rows. ERROR 55000 if a rule replaces the statement, or the table was renamed.
uint64 run(Queue *queue, Statement statement, const Parameter *parameters, int count);

inline uint64 run(Queue *queue, Statement statement, std::initializer_list<Parameter> parameters) {
    return run(queue, statement, parameters.begin(), static_cast<int>(parameters.size()));
}

// A bigint of a row. ERROR 42804 if the table's owner has made the column something else.
int64 bigint_of(uint64 row, const char *column);

// The text of a column of a row; null pointer for NULL
const char *text_of(uint64 row, const char *column);

// The state as it is after the statement: a trigger of the owner's may have had its say
std::optional<State> state_of(uint64 row);

// The key of a statement's only row, which has nothing but the three columns of it
JobKey key_of_only_row();

} // namespace ecto_job
